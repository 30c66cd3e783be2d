"""Which service, product and version a banner speaks of.

Only what the server says itself is used. Every pattern is linear and works on at most 4 KiB, so that no banner can
stall a scan.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from securenet_scanner.network.banners import Banner


@dataclass(frozen=True, slots=True)
class Service:
    """What listens. Empty where it does not say."""

    name: str = ""
    """Application protocol: ssh, http, smtp, …"""
    product: str = ""
    version: str = ""
    cpe: str = ""
    """CPE 2.3 formatted string."""


def identify(banner: Banner) -> Service:
    """Read a banner."""
    data = banner.data
    if not data:
        return Service()
    for recognise in _RECOGNISERS:
        service = recognise(data)
        if service is not None:
            return service
    return Service()


def _service(name: str, product: str = "", version: str = "") -> Service:
    vendor = _CPE.get(product.lower())
    return Service(name, product, version, f"cpe:2.3:a:{vendor}:{_cpe_part(version)}:*:*:*:*:*:*:*" if vendor else "")


def _cpe_part(version: str) -> str:
    """A version as a component of a CPE 2.3 formatted string: other than letters, digits, `.`, `_` and `-` quoted."""
    return re.sub(r"([^A-Za-z0-9._\-])", r"\\\1", version) if version else "*"


_CPE = {
    "openssh": "openbsd:openssh",
    "dropbear": "dropbear_ssh_project:dropbear_ssh",
    "nginx": "f5:nginx",
    "apache httpd": "apache:http_server",
    "apache tomcat": "apache:tomcat",
    "lighttpd": "lighttpd:lighttpd",
    "caddy": "caddyserver:caddy",
    "jetty": "eclipse:jetty",
    "iis": "microsoft:internet_information_services",
    "gunicorn": "gunicorn:gunicorn",
    "werkzeug": "palletsprojects:werkzeug",
    "envoy": "envoyproxy:envoy",
    "vsftpd": "vsftpd_project:vsftpd",
    "proftpd": "proftpd:proftpd",
    "pure-ftpd": "pureftpd:pure-ftpd",
    "filezilla server": "filezilla-project:filezilla_server",
    "postfix": "postfix:postfix",
    "exim": "exim:exim",
    "sendmail": "sendmail:sendmail",
    "dovecot": "dovecot:dovecot",
    "redis": "redis:redis",
    "mysql": "oracle:mysql",
    "mariadb": "mariadb:mariadb",
}


def _ssh(data: bytes) -> Service | None:
    match = re.search(rb"^SSH-[0-9.]{1,8}-([^\s\r\n]{0,200})", data, re.MULTILINE)
    if match is None:
        return None
    software = match[1].decode("latin-1")
    if named := re.fullmatch(r"(OpenSSH|dropbear)(?:_for_Windows)?_([0-9][\w.]*)", software, re.ASCII):
        return _service("ssh", {"dropbear": "Dropbear"}.get(named[1], named[1]), named[2])
    product, _, version = software.partition("_")
    return _service("ssh", product, version)


_HTTP_PRODUCTS = {
    "apache": "Apache httpd",
    "apache-coyote": "Apache Tomcat",
    "microsoft-iis": "IIS",
    "basehttp": "Python http.server",
    "simplehttp": "Python http.server",
}


def _http(data: bytes) -> Service | None:
    if not re.match(rb"HTTP/[0-9]\.[0-9] [0-9]{3}", data):
        return None
    match = re.search(rb"\r?\nServer:[ \t]*([^\r\n]{1,200})", data.split(b"\r\n\r\n", 1)[0], re.IGNORECASE)
    if match is None:
        return _service("http")
    name, slash, rest = match[1].decode("latin-1").strip().partition("/")
    version = re.match(r"[\w.\-+]*", rest, re.ASCII)
    if name.lower() == "jetty(" or name.lower().startswith("jetty("):
        return _service("http", "Jetty", name[6:].rstrip(")"))
    product = _HTTP_PRODUCTS.get(name.lower(), name.split(" ")[0])
    return _service("http", product, version[0] if slash and version else "")


_GRPC_SETTING = 0xFE03
"""`GRPC_ALLOW_TRUE_BINARY_METADATA`, which gRPC's own core announces and nothing else does."""


def _http2(data: bytes) -> Service | None:
    """A SETTINGS frame on stream 0 as the first thing (RFC 9113 §6.5): settings of six bytes, number and value."""
    length = int.from_bytes(data[:3], "big")
    settings = len(data) >= 9 and data[3] == 4 and data[4] in {0, 1} and data[5:9] == bytes(4)
    if not settings or length % 6 or length > 600:
        return None
    numbers = {int.from_bytes(data[at : at + 2], "big") for at in range(9, min(9 + length, len(data) - 5), 6)}
    return _service("grpc" if _GRPC_SETTING in numbers else "http2")


def _mail_or_files(data: bytes) -> Service | None:
    """FTP and SMTP both greet with 220; the words tell them apart."""
    match = re.match(rb"220[ \-]([^\r\n]{0,500})", data)
    if match is None:
        return None
    text = match[1].decode("latin-1")
    for name, pattern in _GREETINGS_220:
        if found := re.search(pattern, text, re.IGNORECASE):
            version = found["version"] if "version" in found.re.groupindex else None
            return _service(name, found["product"] if "product" in found.re.groupindex else "", version or "")
    return None


_GREETINGS_220 = (
    ("ftp", r"(?P<product>vsFTPd) (?P<version>[\d.]+)"),
    ("ftp", r"(?P<product>ProFTPD)(?: (?P<version>[\d.]+\w*))?"),
    ("ftp", r"(?P<product>Pure-FTPd)"),
    ("ftp", r"(?P<product>FileZilla Server)(?: (?P<version>[\d.]+))?"),
    ("smtp", r"ESMTP (?P<product>Postfix)"),
    ("smtp", r"ESMTP (?P<product>Exim) (?P<version>[\d.]+)"),
    ("smtp", r"ESMTP (?P<product>Sendmail) (?P<version>[\d.]+)"),
    ("smtp", r"\bE?SMTP\b"),
    ("ftp", r"\bFTP\b"),
)


def _mailboxes(data: bytes) -> Service | None:
    for name, start in (("pop3", b"+OK"), ("imap", b"* OK")):
        if data.startswith(start) and not data.startswith(b"+OK\r\n+"):
            return _service(name, "Dovecot" if b"Dovecot" in data[:500] else "")
    return None


def _redis(data: bytes) -> Service | None:
    if data.startswith((b"+PONG\r\n", b"-NOAUTH ", b"-DENIED Redis", b"-ERR wrong number of arguments for 'get'")):
        return _service("redis", "Redis")
    return None


def _mysql(data: bytes) -> Service | None:
    """The first packet: length (3 bytes), sequence 0, protocol 10, then the version up to a zero byte."""
    match = re.match(rb"[\s\S]{2}\x00\x00\x0a([\x20-\x7e]{1,100})\x00", data)
    if match is None:
        return None
    text = match[1].decode("ascii")
    if "MariaDB" in text:
        version = text.removeprefix("5.5.5-").partition("-")[0]
        return _service("mysql", "MariaDB", version)
    return _service("mysql", "MySQL", text.partition("-")[0])


def _others(data: bytes) -> Service | None:
    if re.match(rb"RFB [0-9]{3}\.[0-9]{3}\n", data):
        return _service("vnc")
    if data.startswith(b"AMQP"):
        return _service("amqp")
    if data[:1] == b"\xff" and data[1:2] in {b"\xfb", b"\xfd"}:
        return _service("telnet")
    if data.startswith(b"@RSYNCD:"):
        return _service("rsync")
    return None


_RECOGNISERS: tuple[Callable[[bytes], Service | None], ...] = (
    _ssh,
    _http,
    _http2,
    _mail_or_files,
    _mailboxes,
    _redis,
    _mysql,
    _others,
)

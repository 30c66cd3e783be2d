"""What banners are taken for."""

from __future__ import annotations

import pytest

from securenet_scanner.cvss import Severity
from securenet_scanner.network.banners import MAX_BANNER, Banner, printable
from securenet_scanner.network.misconfigurations import check
from securenet_scanner.network.services import Service, identify

pytestmark = pytest.mark.unit

GRPC_SETTINGS = bytes.fromhex("000018040000000000000400400000000500400000000600005000fe0300000001")
MYSQL = b"J\x00\x00\x00\x0a5.5.5-10.11.6-MariaDB-0+deb12u1\x00" + b"\x01" * 40


@pytest.mark.parametrize(
    ("data", "name", "product", "version"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u2\r\n", "ssh", "OpenSSH", "9.2p1"),
        (b"Welcome, stranger\r\nSSH-2.0-dropbear_2022.83\r\n", "ssh", "Dropbear", "2022.83"),
        (b"SSH-2.0-Go\r\n", "ssh", "Go", ""),
        (b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\n\r\n", "http", "nginx", "1.24.0"),
        (b"HTTP/1.1 200 OK\r\nDate: x\r\nserver: Apache/2.4.57 (Debian)\r\n\r\n", "http", "Apache httpd", "2.4.57"),
        (b"HTTP/1.0 200 OK\r\nServer: SimpleHTTP/0.6 Python/3.11.2\r\n\r\n", "http", "Python http.server", "0.6"),
        (b"HTTP/1.1 404 Not Found\r\nServer: Jetty(9.4.51.v20230217)\r\n\r\n", "http", "Jetty", "9.4.51.v20230217"),
        (b"HTTP/1.1 200 OK\r\n\r\nServer: not/1.0 a header\r\n", "http", "", ""),
        (b"220 (vsFTPd 3.0.3)\r\n", "ftp", "vsFTPd", "3.0.3"),
        (b"220 ProFTPD Server (Debian) [::ffff:10.0.0.1]\r\n", "ftp", "ProFTPD", ""),
        (b"220-FileZilla Server 1.7.0\r\n", "ftp", "FileZilla Server", "1.7.0"),
        (b"220 mail.example ESMTP Postfix (Debian/GNU)\r\n", "smtp", "Postfix", ""),
        (b"220 mail.example ESMTP Exim 4.96 Mon, 01 Jan\r\n", "smtp", "Exim", "4.96"),
        (b"220 mail.example Microsoft ESMTP MAIL Service\r\n", "smtp", "", ""),
        (b"+OK Dovecot (Debian) ready.\r\n", "pop3", "Dovecot", ""),
        (b"* OK [CAPABILITY IMAP4rev1] ready.\r\n", "imap", "", ""),
        (b"+PONG\r\n", "redis", "Redis", ""),
        (b"-NOAUTH Authentication required.\r\n", "redis", "Redis", ""),
        (MYSQL, "mysql", "MariaDB", "10.11.6"),
        (b"I\x00\x00\x00\x0a8.0.36\x00" + b"\x01" * 40, "mysql", "MySQL", "8.0.36"),
        (GRPC_SETTINGS, "grpc", "", ""),
        (b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64", "http2", "", ""),
        (b"RFB 003.008\n", "vnc", "", ""),
        (b"\xff\xfd\x18\xff\xfd\x20", "telnet", "", ""),
        (b"AMQP\x00\x00\x09\x01", "amqp", "", ""),
        (b"\x00\x01\x02", "", "", ""),
        (b"", "", "", ""),
    ],
)
def test_banners(data: bytes, name: str, product: str, version: str) -> None:
    service = identify(Banner(data, "greeting", tls=False))
    assert (service.name, service.product, service.version) == (name, product, version)


def test_a_known_product_has_a_cpe() -> None:
    banner = Banner(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n", "greeting", tls=False)
    assert identify(banner).cpe == "cpe:2.3:a:openbsd:openssh:9.2p1:*:*:*:*:*:*:*"
    nameless = Banner(b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n", "http", tls=False)
    assert identify(nameless).cpe == "cpe:2.3:a:f5:nginx:*:*:*:*:*:*:*:*"


def test_banners_become_plain_text() -> None:
    assert printable(b"ok \\ \x1b[31m\r\n\xc3\xa4") == "ok \\\\ \\x1b[31m\\r\\n\\xc3\\xa4"
    assert len(printable(b"\x00" * 5000)) <= MAX_BANNER


@pytest.mark.parametrize(
    ("banner", "service", "titles"),
    [
        (Banner(b"+PONG\r\n", "redis", False), Service("redis"), [(Severity.CRITICAL, "without a password")]),
        (Banner(b"-NOAUTH x", "redis", False), Service("redis"), []),
        (Banner(b"\xff\xfd", "greeting", False), Service("telnet"), [(Severity.HIGH, "Telnet")]),
        (Banner(b"220 FTP", "greeting", False), Service("ftp"), [(Severity.MEDIUM, "FTP")]),
        (Banner(b"220 FTP", "greeting", True), Service("ftp"), []),
        (Banner(b"SSH-1.5-x\r\n", "greeting", False), Service("ssh"), [(Severity.HIGH, "protocol 1")]),
        (Banner(b"SSH-1.99-x\r\n", "greeting", False), Service("ssh"), []),
        (
            Banner(b"HTTP/1.1 401 U\r\nWWW-Authenticate: Basic realm=x\r\n\r\n", "http", False),
            Service("http"),
            [(Severity.MEDIUM, "password in clear text")],
        ),
        (Banner(b"HTTP/1.1 401 U\r\nWWW-Authenticate: Basic realm=x\r\n\r\n", "http", True), Service("http"), []),
    ],
)
def test_misconfigurations(banner: Banner, service: Service, titles: list[tuple[Severity, str]]) -> None:
    found = check("127.0.0.1", 1234, banner, service)
    assert [(item.severity, words in item.title) for item, (_, words) in zip(found, titles, strict=True)] == [
        (severity, True) for severity, _ in titles
    ]
    again = check("127.0.0.1", 1234, banner, service)
    assert [item.id for item in again] == [item.id for item in found]

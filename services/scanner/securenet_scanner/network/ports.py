"""Which ports are meant: numbers, ranges, and profiles."""

from __future__ import annotations

from enum import Enum


class PortsError(ValueError):
    """A list of ports that cannot be read; the message says which part and what was expected."""


class PortProfile(Enum):
    """A ready list of ports."""

    TOP_100 = "top-100"
    TOP_1000 = "top-1000"
    ALL = "all"


MAX_TEXT = 4_096
MAX_PORT = 65_535


def parse_ports(text: str) -> tuple[int, ...]:
    """Read `22,80,8000-8100`: each port once, in the order given, so that what matters most is probed first.

    Raises `PortsError`.
    """
    if len(text) > MAX_TEXT:
        raise PortsError(f"{len(text)} characters; at most {MAX_TEXT} are read")
    ports: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low = _port(first, part)
        high = _port(last, part) if dash else low
        if low > high:
            raise PortsError(f"{part.strip()!r}: a range goes from the lower port to the higher")
        ports.update(dict.fromkeys(range(low, high + 1)))
    return tuple(ports)


def profile_ports(profile: PortProfile) -> tuple[int, ...]:
    """The ports of a profile, the likeliest first."""
    if profile is PortProfile.TOP_100:
        return _TOP_100
    if profile is PortProfile.TOP_1000:
        return _top_1000()
    return tuple(dict.fromkeys((*_top_1000(), *range(1, MAX_PORT + 1))))


def _port(text: str, part: str) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 5 or not 1 <= int(digits) <= MAX_PORT:
        raise PortsError(f"{part.strip()!r}: expected a port or a range of ports, 1 to {MAX_PORT}")
    return int(digits)


# Both lists are this project's own: where services listen by their own documentation and by what installers set up
# without being asked. The order is the order of probing.
_TOP_100 = (
    80, 443, 22, 445, 3389, 21, 25, 53, 8080, 8443, 23, 139, 135, 110, 143, 993, 995, 587, 465, 3306, 5432, 6379,
    27017, 1433, 1521, 5900, 5985, 111, 2049, 389, 636, 88, 464, 3268, 5000, 8000, 8888, 9000, 9090, 3000, 9200,
    11211, 5672, 15672, 1883, 8883, 2375, 2376, 6443, 10250, 2379, 9092, 2181, 8081, 8008, 81, 8089, 8086, 5601, 9093,
    9100, 631, 515, 548, 554, 1723, 1080, 3128, 5060, 5061, 500, 873, 990, 2222, 5222, 5269, 179, 161, 162, 623,
    50051, 50052, 50053, 7000, 7001, 8500, 8200, 4443, 9443, 10000, 5901, 6000, 1194, 9042, 7474, 28017, 5984, 4369,
    49152, 62078,
)  # fmt: skip

_NAMED = (
    # simple, old and name services: echo, discard, daytime, chargen, time, whois, tacacs, finger, ident, ntp,
    # snmp-mux
    7, 9, 13, 17, 19, 37, 43, 49, 69, 70, 79, 113, 119, 123, 137, 138, 194, 199, 427, 543, 544, 563, 853,
    # mail, news and calendars: submission variants, managesieve, imap3, odette
    24, 26, 106, 109, 209, 220, 366, 585, 628, 2000, 2525, 3305, 4190, 8025, 10025, 10026,
    # directories, Kerberos, Windows: rpc-epmap neighbours, global catalogue, ADWS, winrm, changepw
    42, 543, 593, 749, 750, 2103, 2105, 3269, 5355, 5357, 5358, 5722, 5986, 9389, 47001,
    # remote administration: rexec, rlogin, rsh, cisco smi, x11, vnc, teamviewer, webmin, cockpit, ipmi,
    # pcanywhere, radmin
    512, 513, 514, 666, 992, 2200, 2223, 2323, 2332, 3388, 3390, 4786, 4899, 5631, 5632, 5800, 5801, 5902, 5903, 5904,
    5938, 6001, 6002, 6003, 8291, 10022, 16992, 16993, 20000, 22222, 33389, 55555,
    # files: afp, rsync, nfs mountd, iscsi, svn, git, perforce, cvs, glusterfs, ceph, minio, ftp data and control
    # variants
    20, 115, 2121, 2401, 3260, 3300, 3690, 1666, 6789, 6800, 9001, 9418, 10021, 24007, 24008, 49153,
    # web: proxies, panels, application servers
    82, 83, 84, 85, 88, 280, 591, 593, 777, 800, 808, 880, 888, 901, 981, 1311, 2082, 2083, 2086, 2087, 2095, 2096,
    2301, 2381, 3001, 3002, 3333, 4000, 4200, 4433, 4444, 4567, 4711, 4848, 5001, 5104, 5800, 6080, 7002, 7003, 7004,
    7070, 7080, 7443, 7777, 7780, 7990, 8001, 8002, 8009, 8010, 8020, 8069, 8082, 8083, 8084, 8085, 8087, 8088, 8090,
    8091, 8096, 8111, 8118, 8123, 8161, 8180, 8181, 8222, 8243, 8280, 8333, 8384, 8444, 8530, 8531, 8581, 8649, 8787,
    8800, 8834, 8880, 8983, 9043, 9060, 9080, 9091, 9191, 9444, 9800, 9981, 9999, 10001, 10080, 10443, 12443, 16080,
    18080, 18091, 20720, 28080, 32400,
    # databases and caches: mssql browser, oracle, db2, informix, sybase, firebird, derby, mysqlx, pgbouncer,
    # redis cluster and
    # sentinel, mongo shards, cassandra, couchbase, neo4j, clickhouse, influx, rethink, cockroach, vertica, hana,
    # etcd, riak, aerospike
    1434, 1522, 1525, 1526, 1527, 1583, 2424, 2480, 2483, 2484, 2638, 3050, 3307, 3351, 4321, 5433, 6380, 6432, 7199,
    7473, 7687, 8087, 8098, 8123, 8428, 8529, 9009, 9160, 9440, 11210, 11214, 11215, 13306, 16379, 18086, 19530,
    26257, 26379, 27018, 27019, 28015, 29015, 30015, 33060, 50000, 54321,
    # messages and streams: amqps, stomp, openwire, nats, pulsar, kafka and zookeeper quorums, nsq, mosquitto ws,
    # rabbit, zmq, beanstalk
    1884, 2888, 3888, 4150, 4151, 4160, 4161, 4222, 5671, 6222, 6650, 8222, 9001, 9094, 11300, 25672, 61613, 61614,
    61616, 61617,
    # orchestration and infrastructure: swarm, kubelet, etcd, consul, vault, nomad, salt, puppet, ansible,
    # rancher, docker registry, mesos
    2377, 2380, 4194, 4505, 4506, 4646, 4647, 4648, 5050, 5051, 5555, 6444, 6666, 6783, 7946, 8140, 8201, 8285, 8300,
    8301, 8302, 8400, 8472, 8501, 8502, 8600, 9345, 9796, 10248, 10249, 10255, 10256, 10257, 10259, 15000, 15001,
    15010, 15014, 15021, 15090, 30000,
    # monitoring, logging, tracing: zabbix, nagios, icinga, statsd, graphite, collectd, fluent, loki, prometheus
    # exporters, jaeger, otlp
    1984, 2003, 2004, 3100, 4317, 4318, 4949, 5044, 5140, 5665, 5666, 5667, 6514, 6831, 8125, 8126, 9095, 9096, 9101,
    9102, 9104, 9113, 9114, 9115, 9116, 9117, 9121, 9187, 9216, 9256, 9300, 9308, 9411, 9600, 10050, 10051, 12201,
    13133, 14250, 14268, 16686, 19999, 24224, 24231, 55678, 55679,
    # computing and notebooks: hadoop, yarn, hbase, spark, flink, airflow, jupyter, ray, mlflow neighbours, dask,
    # ollama, triton
    4040, 4041, 6066, 6123, 6265, 7077, 8030, 8031, 8032, 8033, 8042, 8188, 8265, 8485, 8786, 8793, 8793, 8889, 9083,
    9864, 9866, 9867, 9868, 9870, 10002, 11434, 16000, 16010, 16020, 16030, 18081, 18088, 19888, 50010, 50020, 50030,
    50060, 50070, 50075, 50090,
    # version control and building: jenkins agents, gitea, nexus, artifactory, sonar, teamcity, gerrit,
    # phabricator, debuggers
    3003, 5005, 5858, 5678, 8046, 8047, 8787, 9222, 9229, 9876, 29418, 50054,
    # tunnels and proxies: ipsec, pptp, openvpn, wireguard, squid, socks, tor, l2tp, haproxy stats, shadowsocks
    264, 1701, 1812, 1813, 3129, 4500, 8388, 9050, 9051, 9150, 10809, 51820,
    # voice, video, cameras and casting: sip, rtsp, h323, rtmp, airplay, dlna, xmpp, mumble, teamspeak, jitsi,
    # plex, unifi
    1719, 1720, 1755, 1935, 3478, 3479, 5004, 5005, 5223, 5280, 5281, 5349, 5350, 5353, 7447, 7547, 8554, 8555, 10554,
    1900, 2869, 6881, 8060, 8443, 8843, 30033, 34567, 37777, 37215, 64738, 8899,
    # printers and scanners of paper: lpd, jetdirect ports, ipp, sane, hp
    9101, 9103, 6566, 9220, 9290, 9500, 1865,
    # industry and buildings: s7, modbus, iec 104, dnp3, bacnet, ethernet/ip, opc ua, fox, knx, codesys, crestron,
    # profinet, mqtt-sn
    102, 502, 789, 1089, 1090, 1091, 1911, 1962, 2222, 2404, 2455, 3671, 4840, 4843, 4911, 5006, 5007, 5094, 9600,
    11740, 18245, 20547, 34962, 34963, 34964, 41794, 41795, 44818, 47808, 55000,
    # routing, time, licences and banking: bgp, ldp, bfd, flexlm, hasp, sap, cics, x.400, swift neighbours,
    # radius, diameter
    646, 1947, 3200, 3299, 3600, 3868, 5000, 7788, 8100, 27000, 27001, 27009, 50013, 1414, 1494, 1604, 2598, 3632,
    # Java remoting, messaging between Windows machines, backup and storage agents
    1098, 1099, 1100, 1801, 3700, 4444, 4445, 4447, 6101, 6106, 7634, 8686, 9102, 9392, 9990, 9993, 10098, 10099,
    11099, 13782, 20031,
    # games, chat and coins: minecraft, source, steam, irc, ethereum, bitcoin, monero
    6660, 6661, 6662, 6663, 6664, 6665, 6667, 6668, 6669, 6697, 7778, 8545, 8546, 9333, 18080, 18081, 19132, 25565,
    27015, 27016, 30303,
)  # fmt: skip


def _top_1000() -> tuple[int, ...]:
    """The hundred, the ports of named products, then blocks in which applications number themselves, until 1,000."""
    ports = dict.fromkeys((*_TOP_100, *_NAMED))
    for first, last in (
        (8000, 8199),
        (9000, 9099),
        (3000, 3010),
        (5000, 5010),
        (7000, 7010),
        (49152, 49161),
        (1, 1024),
    ):
        ports.update(dict.fromkeys(range(first, last + 1)))
    return tuple(ports)[:1000]

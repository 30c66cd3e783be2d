"""The probe that images run, against real servers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from securenet_core.certificates import DevelopmentAuthority
from securenet_core.health_probe import main
from securenet_core.principal import Principal, Role

pytestmark = pytest.mark.integration

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def servicer() -> health.HealthServicer:
    servicer = health.HealthServicer()
    servicer.set("", SERVING)
    return servicer


@pytest.fixture
def server(servicer: health.HealthServicer) -> Iterator[grpc.Server]:
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    yield server
    server.stop(0).wait()


@pytest.fixture
def plain(server: grpc.Server) -> str:
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return f"127.0.0.1:{port}"


def test_serving_is_exit_code_0(plain: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([plain], {}) == 0
    assert capsys.readouterr().err == f"{plain}: SERVING\n"


def test_the_address_may_come_from_the_environment(plain: str) -> None:
    assert main([], {"SECURENET_PROBE_ADDRESS": plain}) == 0


def test_not_serving_is_exit_code_1(
    plain: str, servicer: health.HealthServicer, capsys: pytest.CaptureFixture[str]
) -> None:
    servicer.set("securenet.test.v1.TestService", NOT_SERVING)
    assert main([plain, "--service", "securenet.test.v1.TestService"], {}) == 1
    assert "NOT_SERVING" in capsys.readouterr().err


def test_an_unknown_service_is_exit_code_1(plain: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([plain, "--service", "securenet.test.v1.Nobody"], {}) == 1
    assert "NOT_FOUND" in capsys.readouterr().err


def test_no_server_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    # Port 1 is reserved and nobody listens there.
    assert main(["127.0.0.1:1", "--timeout", "2"], {}) == 1
    assert "127.0.0.1:1" in capsys.readouterr().err


def test_mutual_tls(server: grpc.Server, tmp_path: Path) -> None:
    authority = DevelopmentAuthority(tmp_path)
    ours = authority.issue_server("server", ["localhost"])
    mine = authority.issue_client(Principal("probe", "default", frozenset({Role.READER})))
    credentials = grpc.ssl_server_credentials(
        [(ours.key.read_bytes(), ours.certificate.read_bytes())],
        root_certificates=authority.ca.certificate.read_bytes(),
        require_client_auth=True,
    )
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    environment = {
        "SECURENET_PROBE_ADDRESS": f"localhost:{port}",
        "SECURENET_PROBE_CA": str(authority.ca.certificate),
        "SECURENET_PROBE_CERTIFICATE": str(mine.certificate),
        "SECURENET_PROBE_KEY": str(mine.key),
    }
    assert main([], environment) == 0
    without = {name: value for name, value in environment.items() if name.endswith(("ADDRESS", "CA"))}
    assert main(["--timeout", "2"], without) == 1


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        ([], {}, "no ADDRESS"),
        (["192.0.2.1:50051"], {}, "not loopback"),
        (["127.0.0.1:1", "--certificate", "only.pem"], {}, "certificate and key go together"),
        (["127.0.0.1:1"], {"SECURENET_PROBE_TIMEOUT": "soon"}, "soon"),
        (["127.0.0.1:1", "--token-file", "/nonexistent"], {}, "/nonexistent"),
    ],
)
def test_a_wrong_question_is_exit_code_2(
    arguments: list[str], environment: dict[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments, environment)
    assert caught.value.code == 2
    assert says in capsys.readouterr().err

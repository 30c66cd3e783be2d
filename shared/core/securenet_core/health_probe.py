"""Asks a server for its health, for container engines: `python -m securenet_core.health_probe [ADDRESS]`.

Every option has a variable, so that an image states the command once and each deployment how to reach its server:
SECURENET_PROBE_ADDRESS, _SERVICE, _CA, _CERTIFICATE, _KEY, _TOKEN_FILE and _TIMEOUT. Exit code 0 says SERVING, 1 that
it does not serve or does not answer, 2 that the probe itself was asked wrongly.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from securenet_core.channels import ChannelSettings, call_metadata, open_channel

PREFIX = "SECURENET_PROBE_"


def probe(settings: ChannelSettings, service: str, timeout: float) -> tuple[bool, str]:
    """Whether the server says SERVING, and what it said or why it did not.

    Args:
        settings: how to reach it.
        service: full name of a gRPC service, or nothing for the server as a whole.
        timeout: seconds for connecting and asking together.
    """
    request = health_pb2.HealthCheckRequest(service=service)
    try:
        with open_channel(settings) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                request, timeout=timeout, metadata=call_metadata(settings)
            )
    except grpc.RpcError as error:
        return False, f"{settings.address}: {error.code().name}: {error.details()}"
    except OSError as error:
        return False, f"{settings.address}: {error}"
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return answer.status == health_pb2.HealthCheckResponse.SERVING, f"{settings.address}: {status}"


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Runs the command; says what came on stderr."""
    parser = _parser(environment)
    options = parser.parse_args(arguments)
    if not options.address:
        parser.error(f"no ADDRESS; name host:port, or set {PREFIX}ADDRESS")
    try:
        settings = ChannelSettings(
            address=options.address,
            ca=options.ca,
            certificate=options.certificate,
            key=options.key,
            token=options.token_file.read_text(encoding="utf-8").strip() if options.token_file else None,
        )
    except (OSError, ValueError) as error:
        parser.error(str(error))
    serving, said = probe(settings, options.service, options.timeout)
    sys.stderr.write(f"{said}\n")
    return 0 if serving else 1


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    def path(name: str) -> Path | None:
        value = environment.get(PREFIX + name)
        return Path(value) if value else None

    parser = argparse.ArgumentParser(prog="health_probe", description="Asks a gRPC server for its health.")
    parser.add_argument("address", nargs="?", default=environment.get(f"{PREFIX}ADDRESS"), help="host:port")
    parser.add_argument("--service", default=environment.get(f"{PREFIX}SERVICE", ""), help="full name; default: all")
    parser.add_argument("--ca", type=Path, default=path("CA"), help="PEM file of the CA; absent: plaintext, loopback")
    parser.add_argument("--certificate", type=Path, default=path("CERTIFICATE"), help="PEM file, for mutual TLS")
    parser.add_argument("--key", type=Path, default=path("KEY"), help="PEM file of its private key")
    parser.add_argument("--token-file", type=Path, default=path("TOKEN_FILE"), help="file of a bearer token")
    # argparse converts a default that is a string, so that a wrong variable is reported like a wrong option.
    parser.add_argument("--timeout", type=float, default=environment.get(f"{PREFIX}TIMEOUT", "5"), help="seconds")
    return parser


if __name__ == "__main__":
    sys.exit(main())

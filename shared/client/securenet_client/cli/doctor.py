"""`securenet doctor`: what is in order, what is not, and what to do about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final, NamedTuple

import typer

from securenet_client.cli.invocation import ExitCode, Invocation, add_command

if TYPE_CHECKING:
    from securenet_client.suite import SecureNet

_SERVICES: Final = ("detection", "scanner", "registry")
_PYTHON: Final = (3, 11)


class Check(NamedTuple):
    """One thing that was looked at; `state` is ok, missing or wrong."""

    check: str
    state: str
    detail: str
    remedy: str = ""


def register(application: typer.Typer) -> None:
    """Adds the command."""
    add_command(
        application, doctor, "doctor", examples=("securenet doctor", "securenet doctor --embedded --output json")
    )


def doctor(run: Invocation) -> int:
    """Check this installation and the services.

    Exits with 3 where a service does not answer, with 2 where something else is wrong.
    """
    checks = [*_local(run)]
    with run.net(*_SERVICES) as net:
        for service in _SERVICES:
            reachable = _health(run, net, service)
            checks.append(reachable)
            if reachable.state == "ok":
                checks.extend(_of_service(net, service))
    run.out.records([check._asdict() for check in checks], Check._fields)
    if any(check.state == "wrong" and check.check.startswith("service ") for check in checks):
        return ExitCode.UNREACHABLE
    return ExitCode.WRONG_USAGE if any(check.state == "wrong" for check in checks) else ExitCode.CLEAN


def _local(run: Invocation) -> Iterator[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info[:2] >= _PYTHON
    yield Check("python", "ok" if good else "wrong", found, "" if good else "install Python 3.11 or later")
    for package in ("securenet-client", "securenet-core", "securenet-flows", "securenet-contracts"):
        yield _package(package, "wrong", "make setup")
    for service in _SERVICES:
        yield _package(f"securenet-{service}", "missing", "needed for securenet up and --embedded only: make setup")
    folder = run.data_dir
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    writable = nearest.is_dir() and os.access(nearest, os.W_OK)
    yield Check(
        "data folder", "ok" if writable else "wrong",
        f"{folder.absolute()}{'' if folder.exists() else ' (not made yet)'}",
        "" if writable else "make it writable, or name another with --data-dir",
    )  # fmt: skip


def _package(name: str, absent: str, remedy: str) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, absent, "not installed", remedy)


def _health(run: Invocation, net: SecureNet, service: str) -> Check:
    import grpc  # noqa: PLC0415 - start-up must be quick
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415 - likewise

    from securenet_core.channels import call_metadata, open_channel  # noqa: PLC0415 - likewise
    from securenet_core.status import from_rpc_error  # noqa: PLC0415 - likewise

    described = net.settings.channel(service)
    with open_channel(described) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=5, metadata=call_metadata(described)
            )
        except grpc.RpcError as error:
            remedy = (
                f"securenet up, or say where it is: --server {service}=host:port" if not run.embedded else "see its log"
            )
            return Check(f"service {service}", "wrong", f"{described.address}: {from_rpc_error(error).message}", remedy)
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    return Check(
        f"service {service}", "ok" if serving else "wrong", f"{described.address}: {status}",
        "" if serving else "it starts or drains; its log says more",
    )  # fmt: skip


def _of_service(net: SecureNet, service: str) -> Iterator[Check]:
    looks: dict[str, Callable[[SecureNet], Check]] = {"detection": _model, "scanner": _knowledge, "registry": _models}
    from securenet_core.exceptions import SecurenetError  # noqa: PLC0415 - start-up must be quick

    try:
        yield looks[service](net)
    except SecurenetError as error:
        yield Check(
            f"{service} answers", "wrong", error.message, "check --token, or the client certificate and its roles"
        )


def _model(net: SecureNet) -> Check:
    serving = net.detection.get_serving_model()
    if serving.current is not None and serving.current.model is not None:
        return Check("serving model", "ok", serving.current.model.name)
    return Check(
        "serving model", "missing", serving.detail or "none: rules and behaviours only",
        "securenet train flow-threat --data CAPTURES --promote",
    )  # fmt: skip


def _knowledge(net: SecureNet) -> Check:
    knowledge = net.scanner.get_knowledge()
    if knowledge is None:
        return Check(
            "knowledge", "missing", "no advisories: packages cannot be matched", "securenet knowledge import --from DIR"
        )
    date = knowledge.data_time.date().isoformat() if knowledge.data_time else "no date"
    return Check(
        "knowledge", "ok", f"{len(knowledge.feeds)} feeds of {date}; covered: {', '.join(knowledge.covered_ecosystems)}"
    )


def _models(net: SecureNet) -> Check:
    champions = [
        f"{model.id} version {found.version}" for model in net.registry.list_models() if (found := model.alias())
    ]
    if champions:
        return Check("champions", "ok", ", ".join(champions))
    return Check(
        "champions", "missing", "no model has been promoted", "securenet train flow-threat --data CAPTURES --promote"
    )

"""A registry of its own for each test, and labelled captures to train on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from securenet.registry.v1 import model_pb2, registry_pb2, registry_pb2_grpc, training_pb2
from securenet_core import Server
from securenet_core.channels import ChannelSettings, open_aio_channel
from securenet_registry.container import DEFINITION
from securenet_registry.settings import RegistrySettings

_HEADER = """#separator \\x09
#set_separator\t,
#empty_field\t(empty)
#unset_field\t-
#path\tconn
#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\
\torig_pkts\tresp_pkts{label_fields}
#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval\tcount\tcount\tstring\tcount\tcount{label_types}
"""


def write_capture(path: Path, *, seed: int, flows: int = 300, labelled: bool = True) -> Path:
    """A Zeek conn.log in which one source scans and others browse. Malicious flows come throughout."""
    rng = np.random.default_rng(seed)
    label_types = "\tstring\tstring" if labelled else ""
    lines = [_HEADER.format(label_fields="\tlabel\tdetailedlabel" if labelled else "", label_types=label_types)]
    for i in range(flows):
        begin = f"{1_767_225_600 + i * 2 + float(rng.random()):.6f}\tC{seed:04d}{i:012d}"
        if rng.random() < 0.3:
            port = rng.choice([22, 23, 445, 3389])
            flow = f"10.0.0.66\t{40000 + i}\t10.0.{i // 250}.{i % 250}\t{port}\ttcp\t-\t-\t-\t-\tS0\t1\t0"
            label = "\tMalicious\tscan"
        else:
            sent, got = int(rng.integers(100, 2000)), int(rng.integers(500, 90_000))
            ends = f"10.0.0.{rng.integers(1, 20)}\t{50000 + i}\t192.0.2.{rng.integers(1, 30)}\t443"
            flow = f"{ends}\ttcp\tssl\t{rng.random():.4f}\t{sent}\t{got}\tSF\t{sent // 400 + 3}\t{got // 1400 + 3}"
            label = "\tBenign\t-"
        lines.append(f"{begin}\t{flow}{label if labelled else ''}\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join([*lines, "#close\t2026-01-01-00-00-00\n"]))
    return path


@pytest.fixture(scope="session")
def captures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three labelled captures."""
    folder = tmp_path_factory.mktemp("captures")
    return [str(write_capture(folder / f"day{i}" / "conn.log", seed=i)) for i in range(3)]


@pytest.fixture
def start_registry(tmp_path: Path) -> Callable[..., Any]:
    """An async context manager that runs a registry and gives a stub of it."""

    @asynccontextmanager
    async def start(name: str = "registry", **settings: Any) -> AsyncIterator[Any]:
        defaults: dict[str, Any] = {"port": 0, "data_dir": tmp_path / name, "access_log": False, "grace": 2}
        server = Server(RegistrySettings(**{**defaults, **settings}), DEFINITION)
        await server.start()
        try:
            async with open_aio_channel(ChannelSettings(server.address)) as channel:
                yield registry_pb2_grpc.ModelRegistryServiceStub(channel)
        finally:
            await server.stop()

    return start


def spec(captures: list[str], model: str = "flows", **fields: Any) -> training_pb2.TrainingSpec:
    """A training that takes a second."""
    quick = {"max_iter": "10", "min_samples_leaf": "5"}
    return training_pb2.TrainingSpec(**{"model": f"models/{model}", "data_uris": captures, "params": quick, **fields})


async def train(stub: Any, captures: list[str], **fields: Any) -> model_pb2.ModelVersion:
    """Trains and answers the version."""
    request = registry_pb2.TrainModelRequest(spec=spec(captures, **fields))
    steps = [response.progress async for response in stub.TrainModel(request)]
    assert steps[-1].training.state == training_pb2.TRAINING_STATE_SUCCEEDED, steps[-1]
    version: model_pb2.ModelVersion = steps[-1].training.model_version
    return version


@pytest.fixture
def helpers() -> Any:
    """`train` and `spec`, for modules that cannot import this one."""

    class Helpers:
        train = staticmethod(train)
        spec = staticmethod(spec)
        write_capture = staticmethod(write_capture)

    return Helpers

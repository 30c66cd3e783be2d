"""A registry of its own for each test, and labelled captures to train on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from labelled_captures import write_capture

from securenet.registry.v1 import model_pb2, registry_pb2, registry_pb2_grpc, training_pb2
from securenet_core import Server
from securenet_core.channels import ChannelSettings, open_aio_channel
from securenet_registry.container import DEFINITION
from securenet_registry.settings import RegistrySettings


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

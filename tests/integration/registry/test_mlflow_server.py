"""In front of a real MLflow server: what plain clients see, and what happens while the server is away."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow_server import MlflowServer

from securenet.registry.v1 import registry_pb2, registry_pb2_grpc
from securenet_core import Server
from securenet_core.channels import ChannelSettings, open_aio_channel
from securenet_core.exceptions import UnavailableError
from securenet_registry.container import DEFINITION
from securenet_registry.mlflow_tracking import MlflowTracking
from securenet_registry.model import Retraction
from securenet_registry.settings import RegistrySettings

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path / "mlflow")
    server.start()
    yield server
    server.close()


@asynccontextmanager
async def registry(folder: Path, uri: str) -> AsyncIterator[tuple[Any, Callable[[], dict[str, Any]]]]:
    """A stub of a registry, and what its health says of MLflow."""
    settings = RegistrySettings(
        port=0, http_port=0, data_dir=folder, access_log=False, grace=2, mirror_interval=0.2, mlflow_tracking_uri=uri,
        model_signing_bundle=False,
    )  # fmt: skip
    server = Server(settings, DEFINITION)
    await server.start()

    def health() -> dict[str, Any]:
        assert server.http is not None
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http.port}/health", timeout=10) as response:
            found: dict[str, Any] = json.load(response)
        return found

    try:
        async with open_aio_channel(ChannelSettings(server.address)) as channel:
            yield registry_pb2_grpc.ModelRegistryServiceStub(channel), health
    finally:
        await server.stop()


async def told(health: Callable[[], dict[str, Any]], *, ready: bool) -> str:
    """What is said of MLflow once it is ready, or is not."""
    async with asyncio.timeout(120):
        while True:
            found = (await asyncio.to_thread(health))["probes"]["mlflow"]
            if found["ready"] is ready:
                return str(found["detail"])
            await asyncio.sleep(0.1)


def seen_by_plain_mlflow(uri: str) -> dict[str, Any] | None:
    """What a plain client sees of the champion; None while there is none."""
    from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - likewise

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    try:
        version = client.get_model_version_by_alias("default.flows", "champion")
    except MlflowException:
        return None
    run_id = str(version.run_id)
    run = client.get_run(run_id)
    return {
        "version": version.tags["securenet.version"],
        "metrics": run.data.metrics,
        "estimator": run.data.params["estimator"],
        "experiment": client.get_experiment(run.info.experiment_id).name,
        "files": {file.path for file in client.list_artifacts(run_id, "model")},
    }


async def until_champion_is(uri: str, version: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            seen = await asyncio.to_thread(seen_by_plain_mlflow, uri)
            if seen is not None and seen["version"] == version:
                return seen
            await asyncio.sleep(0.2)


async def until_there_are(uri: str, versions: set[str]) -> None:
    from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    async with asyncio.timeout(60):
        while True:
            found = await asyncio.to_thread(client.search_model_versions, "name = 'default.flows'")
            if {version.tags["securenet.version"] for version in found} == versions:
                return
            await asyncio.sleep(0.2)


async def test_train_and_promote_are_seen_by_plain_clients_also_after_the_server_was_away(
    mlflow_server: MlflowServer, tmp_path: Path, captures: list[str], helpers: Any
) -> None:
    async with registry(tmp_path / "registry", mlflow_server.uri) as (stub, health):
        first = await helpers.train(stub, captures)
        await stub.PromoteModelVersion(registry_pb2.PromoteModelVersionRequest(name=first.name))
        await told(health, ready=True)
        seen = await until_champion_is(mlflow_server.uri, first.name)
        assert (seen["estimator"], seen["experiment"]) == ("hist-gradient-boosting", "securenet-ml/default")
        assert seen["metrics"]["mcc"] == pytest.approx(next(m.value for m in first.metrics if m.name == "mcc"))
        assert "model/model.skops" in seen["files"]

        mlflow_server.stop()
        said = await told(health, ready=False)
        assert f"MLFLOW_TRACKING_URI {mlflow_server.uri}" in said
        # What serves goes on, and so does training.
        second = await helpers.train(stub, captures)
        await stub.PromoteModelVersion(registry_pb2.PromoteModelVersionRequest(name=second.name))
        assert not await _run_id(stub, second.name)

        await asyncio.to_thread(mlflow_server.start)
        await told(health, ready=True)
        await until_champion_is(mlflow_server.uri, second.name)
        assert await _run_id(stub, second.name)

        third = await helpers.train(stub, captures)
        await until_there_are(mlflow_server.uri, {first.name, second.name, third.name})
        await stub.DeleteModelVersion(registry_pb2.DeleteModelVersionRequest(name=third.name, reason="not needed"))
        await until_there_are(mlflow_server.uri, {first.name, second.name})


async def test_a_server_that_was_never_there_is_named_although_nothing_is_to_be_mirrored(tmp_path: Path) -> None:
    uri = "http://anna:secret@127.0.0.1:1"
    async with registry(tmp_path / "registry", uri) as (_stub, health):
        said = await told(health, ready=False)
    assert "MLFLOW_TRACKING_URI http://***@127.0.0.1:1" in said
    assert "secret" not in said


def test_a_call_to_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    tracking = MlflowTracking("http://127.0.0.1:1", tmp_path, "securenet-ml")
    with pytest.raises(UnavailableError, match=r"MLFLOW_TRACKING_URI http://127\.0\.0\.1:1"):
        tracking.ping()


def test_the_last_version_takes_its_model_along_and_none_is_missed_twice(tmp_path: Path) -> None:
    from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds

    uri = f"sqlite:///{tmp_path}/mlflow.sqlite"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    run_id = client.create_run("0").info.run_id
    client.create_registered_model("north.flows")
    for _ in range(2):
        client.create_model_version("north.flows", source=f"runs:/{run_id}/model", run_id=run_id)
    tracking = MlflowTracking(uri, tmp_path, "securenet-ml")
    for number, left in ((1, 1), (1, 1), (2, 0), (2, 0)):
        tracking.retract(Retraction("north", "flows", number, run_id))
        assert len(client.search_model_versions("name = 'north.flows'")) == left
    assert client.search_registered_models() == []
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"


async def _run_id(stub: Any, name: str) -> str:
    version = (await stub.GetModelVersion(registry_pb2.GetModelVersionRequest(name=name))).model_version
    return str(version.run_id)

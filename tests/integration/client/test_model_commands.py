"""`securenet models` and both clients against a real registry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest
from service_process import ServiceProcess, running
from typer.testing import CliRunner

from securenet_client import AsyncRegistryClient, RegistryClient
from securenet_client.cli.application import make_application
from securenet_core.exceptions import FailedPreconditionError, NotFoundError
from securenet_flows.simulation import ScheduledScenario, SimulationSettings, write_zeek_logs

pytestmark = [pytest.mark.integration, pytest.mark.slow]

QUICK = {"max_iter": 10, "min_samples_leaf": 5}


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("captures")
    scenario = ScheduledScenario.parse("vertical-scan@2m")
    for seed in (1, 2):
        settings = SimulationSettings(seed=seed, duration_s=600, hosts=12, scenarios=(scenario,))
        write_zeek_logs(settings, folder / f"office-{seed}")
    return [folder / "office-1", folder / "office-2"]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, captures: list[Path]) -> Iterator[ServiceProcess]:
    """A registry with two versions of a model, the second of which is champion after the first."""
    with running("registry", tmp_path_factory.mktemp("registry")) as service:
        with RegistryClient(service.address) as client:
            for number in (1, 2):
                steps = list(client.train_model("office", captures, params=QUICK, seed=number))
                assert steps[-1].training is not None
                assert steps[-1].training.state == "succeeded", steps[-1].training.error
                client.promote_model_version("office", number, reason="it is new")
        yield service


def invoke(registry: ServiceProcess, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(make_application(), ["models", *arguments, "--server", registry.address])
    assert result.exit_code == code, result.output
    return result.stdout


def document(registry: ServiceProcess, *arguments: str, code: int = 0) -> Any:
    return json.loads(invoke(registry, *arguments, "--output", "json", code=code))


def test_versions_are_compared_on_the_same_data(registry: ServiceProcess) -> None:
    rows = document(registry, "compare", "office", "1", "champion")
    pooled = {row["metric"]: row for row in rows if not row["dataset"]}
    assert pooled["mcc"].keys() == {"metric", "dataset", "version 1", "version 2"}
    shown = document(registry, "show", "office", "2")
    assert pooled["mcc"]["version 2"] == shown["metrics"]["mcc"]


def test_every_form_of_a_version_is_fetched(registry: ServiceProcess, tmp_path: Path) -> None:
    for flavor in ("source", "onnx", "joblib"):
        written = tmp_path / f"model.{flavor}"
        told = document(registry, "download", "office", "champion", str(written), "--flavor", flavor)
        assert told["size_bytes"] == written.stat().st_size > 0
    # It was made by this registry from what it trained itself.
    assert joblib.load(tmp_path / "model.joblib").n_features_in_ > 10
    invoke(registry, "download", "office", "champion", str(tmp_path / "x"), "--flavor", "pickle", code=2)
    assert not (tmp_path / "x").exists()


def test_nobody_serves_what_nobody_reported(registry: ServiceProcess) -> None:
    found = document(registry, "serving", "office")
    assert found["generation"] == 2
    assert found["reports"] == []


def test_the_audit_log_says_who_did_what(registry: ServiceProcess) -> None:
    events = document(registry, "audit", "--resource", "models/office", "--limit", "50")
    assert [event["sequence"] for event in events] == sorted((e["sequence"] for e in events), reverse=True)
    assert {"promote"} <= {event["action"] for event in events}
    (verified,) = document(registry, "audit", "--verify")
    assert verified["valid"] is True
    assert verified["entries"] >= len(events)


def test_what_is_in_use_is_not_removed(registry: ServiceProcess, tmp_path: Path) -> None:
    with RegistryClient(registry.address) as client:
        client.download_model_version("office", 1, tmp_path / "model.skops")
        uploaded = client.register_model_version("passing", tmp_path / "model.skops", format="skops")
        assert uploaded.version == 1
        with pytest.raises(FailedPreconditionError):
            client.delete_model_version("office", 2, reason="it is champion")
    # A rollback would need it.
    invoke(registry, "delete", "office", "1", code=2)
    invoke(registry, "delete", "passing", "1", "--reason", "not wanted")
    invoke(registry, "show", "passing", "1", code=2)
    invoke(registry, "delete", "passing")
    assert {model["name"] for model in document(registry, "list")} == {"office"}


def test_a_watcher_begins_with_all_there_is(registry: ServiceProcess) -> None:
    with RegistryClient(registry.address) as client:
        first = next(iter(client.watch_model("office")))
        assert first.snapshot is not None
        assert first.snapshot.model == client.get_model("office")
        with pytest.raises(NotFoundError):
            client.get_upload("never-begun")


def test_the_asyncio_client_answers_the_same(registry: ServiceProcess) -> None:
    async def ask() -> tuple[Any, ...]:
        async with AsyncRegistryClient(registry.address) as client:
            first = await anext(aiter(client.watch_model("office")))
            return (
                await client.compare_model_versions("office", [1, 2]),
                await client.get_convergence("office"),
                await client.verify_audit(),
                first.snapshot,
                [model async for model in client.list_models(page_size=1)],
                [version async for version in client.list_model_versions("office", page_size=1)],
            )

    compared, convergence, audit, snapshot, models, versions = asyncio.run(ask())
    with RegistryClient(registry.address) as client:
        assert client.compare_model_versions("office", [1, 2]).model_versions == compared.model_versions
        assert client.get_convergence("office") == convergence
        assert client.verify_audit() == audit
        assert snapshot is not None
        assert client.get_model("office") == snapshot.model
        assert list(client.list_models()) == models
        assert [version.version for version in versions] == [2, 1]


def test_bytes_that_nobody_needs_are_removed(registry: ServiceProcess, captures: list[Path], tmp_path: Path) -> None:
    with RegistryClient(registry.address) as client:
        *_, last = client.train_model("passing", captures, params=QUICK, seed=9)
        assert last.training is not None
        assert last.training.state == "succeeded", last.training.error
        own = {file.digest for file in client.get_model_version("passing", 1).files}
        kept = {file.digest for number in (1, 2) for file in client.get_model_version("office", number).files}
        client.delete_model("passing")
        assert client.collect_garbage().digests == ()
    found = document(registry, "gc", "--grace", "0s", "--dry-run")
    assert own - kept <= set(found["digests"])
    assert kept.isdisjoint(found["digests"])
    assert str(found["blobs"]) in invoke(registry, "gc", "--grace", "0s", "--dry-run")
    assert document(registry, "gc", "--grace", "0s") == found
    assert document(registry, "gc", "--grace", "0s")["blobs"] == 0
    document(registry, "download", "office", "champion", str(tmp_path / "model.onnx"), "--flavor", "onnx")
    invoke(registry, "gc", "--grace", "soon", code=2)

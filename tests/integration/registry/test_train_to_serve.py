"""The way of a model: trained, registered, promoted, watched, downloaded, verified, loaded by a plain MLflow user."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import joblib
import numpy as np
import onnxruntime
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from securenet.registry.v1 import model_pb2, registry_pb2, training_pb2
from securenet_flows.features import SCHEMA_HASH

pytestmark = [pytest.mark.integration, pytest.mark.slow]


async def download(stub: Any, name: str, flavor: model_pb2.Flavor.ValueType, offset: int = 0) -> tuple[Any, bytes]:
    request = registry_pb2.DownloadModelVersionRequest(name=name, flavor=flavor, offset=offset)
    parts = [part async for part in stub.DownloadModelVersion(request)]
    return parts[0].header, b"".join(part.chunk.data for part in parts[1:])


async def test_a_model_from_captures_to_a_consumer(
    start_registry: Callable[..., Any], captures: list[str], helpers: Any, tmp_path: Path
) -> None:
    async with start_registry() as stub:
        watch = stub.WatchModel(registry_pb2.WatchModelRequest(name="models/flows"))
        first = await watch.read()
        assert not first.snapshot.HasField("model")

        request = registry_pb2.TrainModelRequest(spec=helpers.spec(captures), request_id="t-1")
        steps = [response.progress async for response in stub.TrainModel(request)]
        assert [step.seq for step in steps] == list(range(1, len(steps) + 1))
        assert steps[0].training.state == training_pb2.TRAINING_STATE_QUEUED
        phases = list(dict.fromkeys(step.phase for step in steps))
        assert [p for p in phases if p != "reading"] == [
            "queued", "fitting", "calibrating", "evaluating", "converting", "registering", "done",
        ]  # fmt: skip
        fractions = [step.fraction for step in steps]
        assert fractions == sorted(fractions)
        training = steps[-1].training
        version = training.model_version
        assert version.name == "models/flows/versions/1"
        assert version.sample_count == 900
        assert version.feature_schema_hash == SCHEMA_HASH
        assert version.run_id
        pooled = {metric.name: metric.value for metric in version.metrics if not metric.dataset}
        assert pooled["mcc"] > 0.9
        assert {m.dataset for m in version.metrics} == {"", "day0", "day1", "day2"}

        # The same key joins the first training, from its first step.
        again = [response.progress async for response in stub.TrainModel(request)]
        assert again[-1].training == training
        resumed = stub.WatchTraining(registry_pb2.WatchTrainingRequest(name=training.name, from_seq=len(steps)))
        assert [response.progress.seq async for response in resumed] == [len(steps)]

        promote = registry_pb2.PromoteModelVersionRequest(name=version.name, expected_generation=0, request_id="p-1")
        promotion = (await stub.PromoteModelVersion(promote)).promotion
        assert all(gate.passed for gate in promotion.gates)
        assert promotion.generation == 1
        assert (await stub.PromoteModelVersion(promote)).promotion == promotion

        kinds = []
        while "alias-moved" not in kinds:
            update = await asyncio.wait_for(watch.read(), 20)
            # A machine that is busy takes long enough for a sign of life in between.
            if update.WhichOneof("update") != "heartbeat":
                kinds.append(update.event.kind)
        assert kinds == ["model-created", "version-registered", "alias-moved"]
        assert update.event.alias.version == 1
        watch.cancel()

        header, data = await download(stub, "models/flows/versions/champion", model_pb2.FLAVOR_ONNX)
        public = serialization.load_pem_public_key((tmp_path / "registry/keys/signing.pub.pem").read_bytes())
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(header.signature.value, header.manifest, ec.ECDSA(hashes.SHA256()))
        manifest = json.loads(header.manifest)
        files = {file["path"]: file["digest"] for file in manifest["files"]}
        assert files[header.file.path] == hashlib.sha256(data).hexdigest()
        _check_scores(manifest, data)
        assert json.loads(header.signature.bundle)["mediaType"].startswith("application/vnd.dev.sigstore.bundle")

        _, tail = await download(stub, "models/flows/versions/1", model_pb2.FLAVOR_ONNX, offset=1000)
        assert tail == data[1000:]
        source, _ = await download(stub, f"models/flows/versions/sha256:{version.digest}", model_pb2.FLAVOR_SOURCE)
        assert source.file.path == "model.skops"

        form, stored = await download(stub, version.name, model_pb2.FLAVOR_JOBLIB)
        assert files["model.joblib"] == form.file.digest == hashlib.sha256(stored).hexdigest()
        assert "joblib-form" in {gate.name for gate in promotion.gates}
        _check_joblib(manifest, stored)

    # Seen by somebody who has only MLflow.
    await asyncio.to_thread(_load_with_mlflow, f"sqlite:///{tmp_path}/registry/mlflow.sqlite", version.run_id)


def _check_scores(manifest: dict[str, Any], data: bytes) -> None:
    golden = manifest["golden"]
    rows = np.frombuffer(base64.b64decode(golden["features"]), "<f4").reshape(golden["shape"])
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (raw,) = session.run([manifest["serving"]["output"]], {manifest["serving"]["input"]: rows})
    assert np.abs(raw - np.array(golden["raw"])).max() <= golden["tolerance"]
    calibration = manifest["calibration"]
    scores = np.interp(raw, calibration["x"], calibration["y"])
    assert scores.min() < 0.2
    assert scores.max() > 0.8


def _check_joblib(manifest: dict[str, Any], data: bytes) -> None:
    golden = manifest["golden"]
    rows = np.frombuffer(base64.b64decode(golden["features"]), "<f4").reshape(golden["shape"])
    estimator = joblib.load(io.BytesIO(data))
    assert np.abs(estimator.predict_proba(rows)[:, 1] - np.array(golden["raw"])).max() <= golden["tolerance"]


def _load_with_mlflow(uri: str, run_id: str) -> None:
    import mlflow  # noqa: PLC0415 - takes seconds

    mlflow.set_tracking_uri(uri)
    model = mlflow.sklearn.load_model("models:/default.flows@champion")
    assert type(model).__name__ == "HistGradientBoostingClassifier"
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    assert run.data.params["estimator"] == "hist-gradient-boosting"
    assert run.data.metrics["mcc"] > 0.9
    assert client.get_experiment(run.info.experiment_id).name == "securenet-ml/default"


async def test_bad_data_fails_the_training_and_names_the_file(
    start_registry: Callable[..., Any], helpers: Any, tmp_path: Path
) -> None:
    unlabelled = helpers.write_capture(tmp_path / "plain" / "conn.log", seed=9, labelled=False)
    async with start_registry() as stub:
        for uri, said in ((str(unlabelled), "no labels"), (str(tmp_path / "absent.log"), "No such file")):
            request = registry_pb2.TrainModelRequest(spec=helpers.spec([uri]))
            steps = [response.progress async for response in stub.TrainModel(request)]
            training = steps[-1].training
            assert training.state == training_pb2.TRAINING_STATE_FAILED
            assert (steps[-1].phase, steps[-1].message) == ("reading", training.error)
            assert steps[-1].fraction < 0.4
            assert uri in training.error
            assert said in training.error


async def test_other_estimators(start_registry: Callable[..., Any], captures: list[str], helpers: Any) -> None:
    async with start_registry(model_signing_bundle=False) as stub:
        forest = await helpers.train(
            stub, captures, estimator=training_pb2.ESTIMATOR_RANDOM_FOREST, params={"n_estimators": "10"}
        )
        promotion = await stub.PromoteModelVersion(registry_pb2.PromoteModelVersionRequest(name=forest.name))
        assert all(gate.passed for gate in promotion.promotion.gates)
        isolation = await helpers.train(
            stub, captures, estimator=training_pb2.ESTIMATOR_ISOLATION_FOREST, params={"n_estimators": "10"}
        )
        # Both can serve, but not one in the place of the other.
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.PromoteModelVersion(registry_pb2.PromoteModelVersionRequest(name=isolation.name))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "score-kind: anomaly; required probability" in (refused.value.details() or "")


async def test_cancelling(start_registry: Callable[..., Any], captures: list[str], helpers: Any) -> None:
    async with start_registry() as stub:
        slow = helpers.spec(captures, params={"max_iter": "2000", "learning_rate": "0.001", "min_samples_leaf": "1"})
        call = stub.TrainModel(registry_pb2.TrainModelRequest(spec=slow))
        first = (await call.read()).progress
        while (await call.read()).progress.phase != "fitting":
            pass
        cancelled = await stub.CancelTraining(registry_pb2.CancelTrainingRequest(name=first.training.name))
        assert cancelled.training.state == training_pb2.TRAINING_STATE_CANCELLED
        while (step := await call.read()) is not grpc.aio.EOF:
            last = step.progress
        assert last.training.state == training_pb2.TRAINING_STATE_CANCELLED
        again = await stub.CancelTraining(registry_pb2.CancelTrainingRequest(name=first.training.name))
        assert again.training.state == training_pb2.TRAINING_STATE_CANCELLED
        # The queue goes on.
        await helpers.train(stub, captures)

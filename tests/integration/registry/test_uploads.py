"""Uploads: whole, broken off and taken up again, refused; and what a version from outside lacks for serving."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import joblib
import numpy as np
import onnx
import pytest
import skops.io
from onnx import TensorProto, helper
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from securenet.registry.v1 import model_pb2, registry_pb2
from securenet_flows.features import FEATURES, SCHEMA_HASH
from securenet_registry.training.calibration import Calibration
from securenet_registry.training.onnx_trees import to_onnx

pytestmark = [pytest.mark.integration, pytest.mark.slow]

COLUMNS = len(FEATURES)


@pytest.fixture(scope="module")
def boosting() -> HistGradientBoostingClassifier:
    rng = np.random.default_rng(0)
    x = np.rint(rng.normal(size=(400, COLUMNS)) * 1024) / 1024
    return HistGradientBoostingClassifier(max_iter=5).fit(x, (x[:, 0] > 0).astype(int))


def requests(
    data: bytes, key: str, *, chunk: int = 4096, start: int = 0, stop: int | None = None, **header: Any
) -> Iterator[registry_pb2.RegisterModelVersionRequest]:
    fields = {
        "model": "models/outside", "format": model_pb2.ARTIFACT_FORMAT_SKOPS, "size_bytes": len(data),
        "digest": hashlib.sha256(data).hexdigest(), "request_id": key, "feature_schema_hash": SCHEMA_HASH, **header,
    }  # fmt: skip
    yield registry_pb2.RegisterModelVersionRequest(header=registry_pb2.UploadHeader(**fields))
    end = len(data) if stop is None else stop
    for offset in range(start, end, chunk):
        piece = registry_pb2.UploadChunk(offset=offset, data=data[offset : min(offset + chunk, end)])
        yield registry_pb2.RegisterModelVersionRequest(chunk=piece)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_an_upload_that_breaks_off_goes_on(
    start_registry: Callable[..., Any], boosting: HistGradientBoostingClassifier
) -> None:
    data = skops.io.dumps(boosting)
    async with start_registry() as stub:
        error = await refused(stub.RegisterModelVersion(requests(data, "u-1", stop=10_000)))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        upload = (await stub.GetUpload(registry_pb2.GetUploadRequest(request_id="u-1"))).upload
        assert (upload.committed_bytes, upload.size_bytes) == (10_000, len(data))

        error = await refused(stub.RegisterModelVersion(requests(data, "u-1", start=12_000)))
        assert error.code() is grpc.StatusCode.OUT_OF_RANGE
        assert "10000" in (error.details() or "")
        error = await refused(stub.RegisterModelVersion(requests(data[:-1], "u-1")))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT

        version = (await stub.RegisterModelVersion(requests(data, "u-1", start=8192))).model_version
        assert version.name == "models/outside/versions/1"
        assert version.digest == hashlib.sha256(data).hexdigest()
        assert {file.path for file in version.files} == {
            "model.skops", "derived/model.onnx", "derived/agreement.json"
        }  # fmt: skip
        again = (await stub.RegisterModelVersion(requests(data, "u-1"))).model_version
        assert again.name == version.name
        upload = (await stub.GetUpload(registry_pb2.GetUploadRequest(request_id="u-1"))).upload
        assert upload.model_version.name == version.name

        # No table from raw score to probability came with it, so it may not serve, and the gates say why.
        promote = registry_pb2.PromoteModelVersionRequest(name=version.name, validate_only=True)
        gates = {gate.name: gate for gate in (await stub.PromoteModelVersion(promote)).promotion.gates}
        assert [name for name, gate in gates.items() if not gate.passed] == ["calibration"]
        error = await refused(stub.PromoteModelVersion(registry_pb2.PromoteModelVersionRequest(name=version.name)))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_onnx_with_its_calibration_can_be_promoted(
    start_registry: Callable[..., Any], boosting: HistGradientBoostingClassifier
) -> None:
    table = Calibration("sigmoid", np.array([0.0, 1.0]), np.array([0.1, 0.9])).document()
    data = to_onnx(boosting, COLUMNS, {"calibration": json.dumps(table)})
    async with start_registry() as stub:
        upload = requests(data, "u-2", format=model_pb2.ARTIFACT_FORMAT_ONNX)
        version = (await stub.RegisterModelVersion(upload)).model_version
        promote = registry_pb2.PromoteModelVersionRequest(name=version.name)
        assert (await stub.PromoteModelVersion(promote)).promotion.generation == 1


def _of_linear() -> bytes:
    return bytes(skops.io.dumps(LogisticRegression().fit([[0.0], [1.0]], [0, 1])))


class _Canary:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


def _external(tmp_path: Path) -> bytes:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1], b"\0" * 4, raw=True)
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../../../etc/passwd")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])], [weights],
    )  # fmt: skip
    return bytes(helper.make_model(graph).SerializeToString())


async def test_what_is_refused_and_why(start_registry: Callable[..., Any], tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickled = pickle.dumps(_Canary(str(canary)))
    buffer = io.BytesIO()
    joblib.dump(_Canary(str(canary)), buffer)
    slip = io.BytesIO()
    with zipfile.ZipFile(slip, "w") as archive:
        archive.writestr("../../evil", b"x")
        archive.writestr("schema.json", b"{}")
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b"0" * (64 << 20))
    skops_format, onnx_format = model_pb2.ARTIFACT_FORMAT_SKOPS, model_pb2.ARTIFACT_FORMAT_ONNX
    cases = [
        (buffer.getvalue(), model_pb2.ARTIFACT_FORMAT_JOBLIB, grpc.StatusCode.INVALID_ARGUMENT, "joblib"),
        (pickled, skops_format, grpc.StatusCode.FAILED_PRECONDITION, "no skops file"),
        (pickled, onnx_format, grpc.StatusCode.FAILED_PRECONDITION, "refused"),
        (slip.getvalue(), skops_format, grpc.StatusCode.FAILED_PRECONDITION, "leads out"),
        (bomb.getvalue(), skops_format, grpc.StatusCode.FAILED_PRECONDITION, "expands"),
        (_of_linear(), skops_format, grpc.StatusCode.FAILED_PRECONDITION, "LogisticRegression"),
        (_external(tmp_path), onnx_format, grpc.StatusCode.FAILED_PRECONDITION, "another file"),
    ]
    async with start_registry() as stub:
        for number, (data, form, code, said) in enumerate(cases):
            error = await refused(stub.RegisterModelVersion(requests(data, f"r-{number}", format=form)))
            assert error.code() is code, (number, error.details())
            assert said in (error.details() or "")
        wrong = requests(b"abc", "r-digest", digest="0" * 64)
        assert (await refused(stub.RegisterModelVersion(wrong))).code() is grpc.StatusCode.INVALID_ARGUMENT
        huge = requests(b"abc", "r-huge", size_bytes=1 << 40)
        assert (await refused(stub.RegisterModelVersion(huge))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED

        async def no_header() -> AsyncIterator[registry_pb2.RegisterModelVersionRequest]:
            yield registry_pb2.RegisterModelVersionRequest(chunk=registry_pb2.UploadChunk(data=b"x"))

        assert (await refused(stub.RegisterModelVersion(no_header()))).code() is grpc.StatusCode.INVALID_ARGUMENT
        listed = await stub.ListModels(registry_pb2.ListModelsRequest())
        assert not listed.models
    assert not canary.exists()
    assert not list((tmp_path / "registry" / "uploads").iterdir())


async def test_a_tree_whose_nodes_lead_astray_is_refused(
    start_registry: Callable[..., Any], boosting: HistGradientBoostingClassifier
) -> None:
    data = skops.io.dumps(boosting)
    bent = skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    bent._predictors[0][0].nodes["left"][0] = 2_000_000_000
    async with start_registry() as stub:
        error = await refused(stub.RegisterModelVersion(requests(skops.io.dumps(bent), "n-1")))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "points outside" in (error.details() or "")


def test_onnx_files_of_these_tests_are_onnx(tmp_path: Path) -> None:
    assert onnx.load_model_from_string(_external(tmp_path)).graph.name == "g"

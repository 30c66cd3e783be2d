"""Aliases: races, rollback, deletion guards, history, audit; tenants apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from securenet.registry.v1 import model_pb2, registry_pb2

pytestmark = [pytest.mark.integration, pytest.mark.slow]


async def code_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    code: grpc.StatusCode = caught.value.code()
    return code


async def test_the_life_of_an_alias(start_registry: Callable[..., Any], captures: list[str], helpers: Any) -> None:
    async with start_registry(model_signing_bundle=False) as stub:
        for seed in (1, 2):
            await helpers.train(stub, captures, seed=seed)

        async def promote(number: int, **fields: Any) -> model_pb2.Promotion:
            name = f"models/flows/versions/{number}"
            response = await stub.PromoteModelVersion(registry_pb2.PromoteModelVersionRequest(name=name, **fields))
            promotion: model_pb2.Promotion = response.promotion
            return promotion

        assert (await promote(1, reason="first")).generation == 1
        assert await code_of(promote(2, expected_generation=0)) is grpc.StatusCode.ABORTED
        assert (await promote(2, validate_only=True)).state == model_pb2.PROMOTION_STATE_PENDING
        second = await promote(2, expected_generation=1)
        assert (second.generation, second.from_version, second.to_version) == (2, 1, 2)

        delete = stub.DeleteModelVersion
        for number in (1, 2):  # what a rollback would go back to, and what serves
            request = registry_pb2.DeleteModelVersionRequest(name=f"models/flows/versions/{number}")
            assert await code_of(delete(request)) is grpc.StatusCode.FAILED_PRECONDITION
        whole = registry_pb2.DeleteModelRequest(name="models/flows")
        assert await code_of(stub.DeleteModel(whole)) is grpc.StatusCode.FAILED_PRECONDITION

        back = registry_pb2.RollbackModelRequest(name="models/flows", request_id="b-1", reason="alerts doubled")
        rolled = (await stub.RollbackModel(back)).promotion
        assert (rolled.generation, rolled.to_version, rolled.rollback) == (3, 1, True)
        assert (await stub.RollbackModel(back)).promotion == rolled
        other = registry_pb2.RollbackModelRequest(name="models/flows", request_id="b-1", to_version=2)
        assert await code_of(stub.RollbackModel(other)) is grpc.StatusCode.INVALID_ARGUMENT

        listing = registry_pb2.ListPromotionsRequest(parent="models/flows", page_size=2)
        page = await stub.ListPromotions(listing)
        listing.page_token = page.next_page_token
        rest = await stub.ListPromotions(listing)
        assert [p.generation for p in (*page.promotions, *rest.promotions)] == [3, 2, 1]

        report = model_pb2.ServingReport(
            consumer="detection-1", model="models/flows", alias="champion", generation=2, version=2,
            state=model_pb2.SERVING_STATE_LOADED,
        )  # fmt: skip
        convergence = registry_pb2.GetConvergenceRequest(name="models/flows")
        assert (await stub.ReportServing(registry_pb2.ReportServingRequest(report=report))).HasField("report_interval")
        assert not (await stub.GetConvergence(convergence)).converged
        report.generation, report.version = 3, 1
        await stub.ReportServing(registry_pb2.ReportServingRequest(report=report))
        assert (await stub.GetConvergence(convergence)).converged
        before = (await stub.GetConvergence(convergence)).reports
        watch = stub.WatchModel(registry_pb2.WatchModelRequest(name="models/flows"))
        await watch.read()
        report.drift.add(kind="feature", feature="orig_bytes_log", measured=0.4, limit=0.25)
        await stub.ReportServing(registry_pb2.ReportServingRequest(report=report))
        event = (await watch.read()).event
        assert (event.kind, event.version, event.alias.version) == ("traffic-drifted", 1, 0)
        assert (await stub.GetConvergence(convergence)).reports == before
        report.drift[0].kind = "mood"
        assert await code_of(stub.ReportServing(registry_pb2.ReportServingRequest(report=report))) is (
            grpc.StatusCode.INVALID_ARGUMENT
        )

        names = ["models/flows/versions/1", "models/flows/versions/2"]
        compared = await stub.CompareModelVersions(registry_pb2.CompareModelVersionsRequest(names=names))
        assert any(row.name == "mcc" and not row.dataset and len(row.values) == 2 for row in compared.metrics)

        audit = await stub.ListAuditEvents(registry_pb2.ListAuditEventsRequest(resource="models/flows"))
        actions = [event.action for event in audit.audit_events]
        assert actions == [
            "drift",
            "rollback",
            "promote",
            "promote",
            "register",
            "train",
            "register",
            "create-model",
            "train",
        ]
        verdict = await stub.VerifyAudit(registry_pb2.VerifyAuditRequest())
        assert verdict.valid
        assert verdict.entries == len(actions)
        assert verdict.head_hash == audit.audit_events[0].hash


async def test_a_changed_byte_is_never_promoted_nor_handed_out(
    start_registry: Callable[..., Any], captures: list[str], helpers: Any, tmp_path: Any
) -> None:
    async with start_registry(model_signing_bundle=False) as stub:
        version = await helpers.train(stub, captures)
        manifest = tmp_path / "registry/artifacts/tenants/default/models/flows/1/manifest.json"
        original = manifest.read_bytes()
        manifest.write_bytes(original.replace(b'"sample_count": 900', b'"sample_count": 901'))
        promote = registry_pb2.PromoteModelVersionRequest(name=version.name, override_gates=True, reason="please")
        assert await code_of(stub.PromoteModelVersion(promote)) is grpc.StatusCode.FAILED_PRECONDITION
        fetch = stub.DownloadModelVersion(registry_pb2.DownloadModelVersionRequest(name=version.name))
        assert await code_of(fetch.read()) is grpc.StatusCode.DATA_LOSS
        manifest.write_bytes(original)
        blob = tmp_path / "registry/artifacts/blobs/sha256" / version.digest[:2] / version.digest
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 1
        blob.write_bytes(data)
        assert await code_of(stub.PromoteModelVersion(promote)) is grpc.StatusCode.FAILED_PRECONDITION


async def test_tenants_do_not_see_each_other(start_registry: Callable[..., Any], tmp_path: Any) -> None:
    tokens = tmp_path / "tokens.toml"
    entries = []
    for tenant in ("north", "south"):
        digest = hashlib.sha256(f"token-{tenant}".encode()).hexdigest()
        entries.append(
            f'[[tokens]]\nsha256 = "{digest}"\nsubject = "{tenant}-ci"\ntenant = "{tenant}"\nroles = ["admin"]\n'
        )
    tokens.write_text("".join(entries))
    async with start_registry(tokens_file=tokens) as stub:

        def call(method: str, tenant: str, **fields: Any) -> Any:
            request = getattr(registry_pb2, f"{method}Request")(**fields)
            return getattr(stub, method)(request, metadata=(("authorization", f"Bearer token-{tenant}"),))

        await call("CreateModel", "north", name="models/ours")
        assert await code_of(call("GetModel", "south", name="models/ours")) is grpc.StatusCode.NOT_FOUND
        assert not (await call("ListModels", "south")).models
        await call("CreateModel", "south", name="models/ours")
        assert await code_of(call("CreateModel", "south", name="models/ours")) is grpc.StatusCode.ALREADY_EXISTS
        await call("DeleteModel", "south", name="models/ours")
        assert (await call("GetModel", "north", name="models/ours")).model.name == "models/ours"
        audit = await call("ListAuditEvents", "north")
        assert [event.actor for event in audit.audit_events] == ["north-ci"]
        assert await code_of(call("GetModel", "nobody", name="models/ours")) is grpc.StatusCode.UNAUTHENTICATED

"""The composition as a user has it: hardened, reached with a client certificate alone, from capture to verdict."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import grpc
import pytest
from composition import PORTS, Composition
from google.protobuf import duration_pb2, timestamp_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from securenet.detection.v1 import detection_pb2, detection_pb2_grpc, flow_pb2, verdict_pb2
from securenet.registry.v1 import registry_pb2, registry_pb2_grpc, training_pb2
from securenet.scanner.v1 import scanner_pb2, scanner_pb2_grpc
from securenet_core.channels import open_channel
from securenet_flows.simulation import ScheduledScenario, SimulationSettings, write_zeek_logs

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(2700)]

OURS = (*PORTS, "mlflow")
#: Import names that must be absent from an image: somebody else's work.
ABSENT = {
    "detection": ["mlflow", "sklearn", "joblib", "skops", "pandas", "securenet_scanner", "securenet_registry"],
    "scanner": ["mlflow", "sklearn", "joblib", "numpy", "onnxruntime", "securenet_detection", "securenet_registry"],
    "registry": ["flask", "matplotlib", "nfstream", "securenet_detection", "securenet_scanner"],
    "mlflow": ["grpc_health", "dependency_injector", "securenet_core"],
}
#: Development tools that belong in no image.
TOOLS = ["pytest", "ruff", "mypy", "hypothesis", "grpc_tools", "hatchling", "pip"]


def analyze_request(flow_id: str = "CE2E") -> detection_pb2.AnalyzeRequest:
    """A flow; one of the same identity is answered from memory for an hour."""
    return detection_pb2.AnalyzeRequest(
        flow=flow_pb2.FlowRecord(
            flow_id=flow_id,
            start_time=timestamp_pb2.Timestamp(seconds=1_700_000_000),
            duration=duration_pb2.Duration(seconds=1),
            src_ip="192.0.2.10",
            dst_ip="198.51.100.20",
            src_port=50000,
            dst_port=443,
            protocol=flow_pb2.TRANSPORT_PROTOCOL_TCP,
            conn_state=flow_pb2.CONN_STATE_SF,
            orig_bytes=900,
            resp_bytes=12_000,
            orig_pkts=12,
            resp_pkts=14,
        )
    )


@pytest.mark.parametrize("service", OURS)
def test_a_container_holds_no_privilege(composition: Composition, service: str) -> None:
    found = composition.inspect(service)
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
    assert host["Memory"] > 0
    assert host["NanoCpus"] > 0
    assert host["PidsLimit"] > 0
    status = composition.execute(service, "cat", "/proc/1/status")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    assert set(fields["Uid"].split()) == {"10001"}
    assert int(fields["CapEff"], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1"


@pytest.mark.parametrize("service", OURS)
def test_only_volumes_and_tmp_can_be_written(composition: Composition, service: str) -> None:
    folders = "/ /opt/securenet /etc /var /tmp /var/lib/securenet"
    probe = f"for folder in {folders}; do touch $folder/probe 2>/dev/null && echo $folder; done; true"
    written = composition.execute(service, "sh", "-c", probe).split()
    assert written == ["/tmp", "/var/lib/securenet"]


@pytest.mark.parametrize("service", OURS)
def test_ports_are_published_on_loopback_alone(composition: Composition, service: str) -> None:
    published = [binding for bindings in composition.inspect(service)["NetworkSettings"]["Ports"].values() if bindings
                 for binding in bindings]  # fmt: skip
    assert published
    assert {binding["HostIp"] for binding in published} == {"127.0.0.1"}


@pytest.mark.parametrize("service", ABSENT)
def test_an_image_holds_only_its_own_dependencies(composition: Composition, service: str) -> None:
    names = json.dumps([*ABSENT[service], *TOOLS])
    program = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
    assert composition.execute(service, "python", "-c", program).strip() == "[]"


@pytest.mark.parametrize("service", PORTS)
def test_an_image_imports_nothing_that_it_lacks(composition: Composition, service: str) -> None:
    program = (
        f"import importlib, pkgutil, securenet_{service} as package\n"
        "for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "    if not module.name.endswith('__main__') and '.migrations' not in module.name:\n"
        "        importlib.import_module(module.name)\n"
    )
    composition.execute(service, "python", "-c", program)


@pytest.mark.parametrize("service", PORTS)
def test_keys_of_others_are_out_of_reach(composition: Composition, service: str) -> None:
    files = set(composition.execute(service, "ls", "/certificates").split())
    signing = {"registry": {"signing.pem", "signing.pub.pem"}, "detection": {"model-signing.pub.pem"}}
    own = {"ca.pem", "client-key.pem", "client.pem", "server-key.pem", "server.pem"}
    assert files == own | signing.get(service, set())


@pytest.mark.parametrize("service", PORTS)
def test_health_is_serving_for_a_client_with_a_certificate(composition: Composition, service: str) -> None:
    with open_channel(composition.channel(service)) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("service", PORTS)
def test_a_client_without_a_certificate_is_refused(composition: Composition, service: str) -> None:
    anonymous = replace(composition.channel(service), certificate=None, key=None)
    with open_channel(anonymous) as channel, pytest.raises(grpc.RpcError) as caught:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
    assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}


def test_analyze_answers_through_the_published_port(composition: Composition) -> None:
    with open_channel(composition.channel("detection")) as channel:
        answer = detection_pb2_grpc.DetectionServiceStub(channel).Analyze(analyze_request(), timeout=60)
    assert answer.verdict.flow_id == "CE2E"
    assert answer.verdict.threat_level >= verdict_pb2.THREAT_LEVEL_LOW
    assert 0 <= answer.verdict.score <= 1


def test_the_scanner_scans_its_own_loopback(composition: Composition) -> None:
    with open_channel(composition.channel("scanner")) as channel:
        stub = scanner_pb2_grpc.ScannerServiceStub(channel)
        scopes = stub.ListScopes(scanner_pb2.ListScopesRequest(), timeout=60)
    assert scopes is not None


@pytest.mark.parametrize("service", [*PORTS, "mlflow"])
def test_state_is_kept_in_postgresql(composition: Composition, service: str) -> None:
    counted = composition.execute(
        "postgres", "sh", "-c",
        f"PGPASSWORD=development-only psql -h 127.0.0.1 -U {service} -d {service} -At "
        "-c \"select count(*) from information_schema.tables where table_schema = 'public'\"",
    )  # fmt: skip
    assert int(counted) > 0


def test_a_model_is_trained_promoted_and_served(composition: Composition) -> None:
    # Office days with attacks, seen by the registry as /data; whole ones are held out.
    days = [f"day-{number}" for number in range(1, 5)]
    for number, day in enumerate(days, start=1):
        settings = SimulationSettings(
            seed=number,
            duration_s=1800,
            scenarios=tuple(ScheduledScenario.parse(text) for text in ("horizontal-scan@60", "ssh-brute-force@300")),
        )
        write_zeek_logs(settings, composition.folder / day)
    with open_channel(composition.channel("registry")) as channel:
        registry = registry_pb2_grpc.ModelRegistryServiceStub(channel)
        spec = training_pb2.TrainingSpec(model="models/flow-threat", data_uris=[f"/data/{day}" for day in days], seed=1)
        steps = list(registry.TrainModel(registry_pb2.TrainModelRequest(spec=spec, request_id="e2e"), timeout=600))
        training = steps[-1].progress.training
        assert training.state == training_pb2.TRAINING_STATE_SUCCEEDED, training.error
        promotion = registry.PromoteModelVersion(
            registry_pb2.PromoteModelVersionRequest(name=training.model_version.name, request_id="e2e"),
            timeout=120,
        ).promotion
    assert promotion.name
    with open_channel(composition.channel("detection")) as channel:
        detection = detection_pb2_grpc.DetectionServiceStub(channel)
        deadline = time.monotonic() + 120
        while True:
            serving = detection.GetServingModel(detection_pb2.GetServingModelRequest(), timeout=30)
            if serving.HasField("current"):
                break
            assert time.monotonic() < deadline, f"detection does not follow: {serving.detail}"
            time.sleep(0.5)
        verdict = detection.Analyze(analyze_request("CE2E-promoted"), timeout=60).verdict
    assert serving.current.model.name == training.model_version.name
    assert verdict.model.name == training.model_version.name


def test_everything_comes_back_after_a_restart(composition: Composition) -> None:
    composition.run("restart", "--timeout", "30", "detection", timeout=180)
    assert composition.inspect("detection")["State"]["Running"]
    composition.await_health("detection")
    with open_channel(composition.channel("detection")) as channel:
        answer = detection_pb2_grpc.DetectionServiceStub(channel).Analyze(analyze_request(), timeout=60)
    assert answer.verdict.flow_id == "CE2E"


def test_a_service_ends_cleanly(composition: Composition) -> None:
    composition.run("stop", "--timeout", "30", "scanner", timeout=120)
    assert composition.inspect("scanner")["State"]["ExitCode"] == 0
    composition.run("start", "scanner")
    composition.await_health("scanner")

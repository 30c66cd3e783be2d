"""Two people at a registry whose policy wants both: one asks, the other approves, by the command line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from service_process import ServiceProcess, running
from typer.testing import CliRunner

from securenet_client import ConnectionSettings, RegistryClient
from securenet_client.cli.application import make_application
from securenet_flows.simulation import ScheduledScenario, SimulationSettings, write_zeek_logs

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("registry")
    tokens = folder / "tokens.toml"
    tokens.write_text(
        "".join(
            f'[[tokens]]\nsha256 = "{hashlib.sha256(f"{name}-token".encode()).hexdigest()}"\nsubject = "{name}"\n'
            'tenant = "north"\nroles = ["model-publisher"]\n'
            for name in ("ann", "bob")
        )
    )
    scenario = ScheduledScenario.parse("vertical-scan@2m")
    for seed in (1, 2):
        settings = SimulationSettings(seed=seed, duration_s=600, hosts=12, scenarios=(scenario,))
        write_zeek_logs(settings, folder / f"office-{seed}")
    policies = json.dumps([{"model": "off*", "second_person": True}])
    with running(
        "registry", folder, SECURENET_REGISTRY_TOKENS_FILE=str(tokens), SECURENET_REGISTRY_DATA_ROOTS=f'["{folder}"]',
        SECURENET_REGISTRY_PROMOTION_POLICIES=policies,
    ) as service:  # fmt: skip
        with RegistryClient(service.address, ConnectionSettings(token="ann-token")) as client:
            captures = [folder / "office-1", folder / "office-2"]
            *_, last = client.train_model("office", captures, params={"max_iter": 10, "min_samples_leaf": 5}, seed=1)
            assert last.training is not None
            assert last.training.state == "succeeded", last.training.error
        yield service


def invoke(registry: ServiceProcess, who: str, *arguments: str, code: int = 0) -> Any:
    command = ["models", *arguments, "--server", registry.address, "--token", f"{who}-token", "--output", "json"]
    result = CliRunner().invoke(make_application(), command)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if code == 0 else result.output


def test_one_asks_and_the_other_approves(registry: ServiceProcess) -> None:
    asked = invoke(registry, "ann", "promote", "office", "1", "--reason", "first")
    assert (asked["state"], asked["generation"], asked["requested_by"]) == ("pending", 0, "ann")
    assert all(gate["passed"] for gate in asked["gates"])
    assert invoke(registry, "bob", "promotions", "office", "--state", "pending") == [asked]
    assert "somebody else must approve" in invoke(registry, "ann", "approve", asked["name"], code=2)
    done = invoke(registry, "bob", "approve", asked["name"], "--reason", "agreed")
    assert (done["state"], done["generation"], done["decided_by"]) == ("committed", 1, "bob")
    (model,) = invoke(registry, "ann", "list")
    assert model["aliases"] == {"champion": 1}

    again = invoke(registry, "bob", "promote", "office", "1")
    assert invoke(registry, "ann", "reject", again["name"], "--reason", "it serves")["state"] == "rejected"
    assert "expected a pending promotion" in invoke(registry, "ann", "approve", again["name"], code=2)
    states = [promotion["state"] for promotion in invoke(registry, "ann", "promotions", "office")]
    assert states == ["rejected", "committed"]
    # The policy is about the champion alone.
    assert invoke(registry, "ann", "promote", "office", "1", "--alias", "challenger")["state"] == "committed"
    assert "state" in invoke(registry, "ann", "promotions", "office", "--state", "lost", code=2)
    assert "no such promotion" in invoke(registry, "ann", "approve", "models/office/promotions/none", code=2)

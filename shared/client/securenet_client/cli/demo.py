"""`securenet demo`: everything once, on traffic of its own."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from securenet_client.cli.invocation import Invocation, Level, add_command
from securenet_client.cli.up import show_addresses, watch

if TYPE_CHECKING:
    from securenet_client.connection import ConnectionSettings
    from securenet_client.suite import SecureNet
    from securenet_flows.simulation import SimulationSettings

_MODEL: Final = "flow-threat"
#: ThreatLevel from which a flow counts as alarmed.
_MEDIUM: Final = 2
_MOST_FINDINGS: Final = 12
_EVIDENCE_COLUMNS: Final = (
    "threat_level",
    "risk",
    "entity",
    "detectors",
    "techniques",
    "count",
    "measured",
    "threshold",
    "evidence",
)
_MORE_PORTS: Final = ("3306", "5432", "6379", "8080", "8443", "9090", "11211", "27017")
_SHOWN_FLOWS: Final = ("horizontal-scan@5m", "ssh-brute-force@12m", "vertical-scan@18m", "beacon@2m:interval=60")


def register(application: typer.Typer) -> None:
    """Adds the command."""
    add_command(application, demo, "demo", examples=("securenet demo", "securenet demo --stay"), connects=False)


def demo(
    run: Invocation,
    *,
    stay: Annotated[bool, typer.Option("--stay", help="Stay up until Ctrl-C.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Folder of everything that the services keep.")] = Path("data"),
    fixed_ports: Annotated[
        bool, typer.Option("--fixed-ports", help="Listen on 50051–50053 rather than free ports.")
    ] = False,
) -> None:
    """Try everything once: train a first model, analyse a capture, scan loopback, match this Python environment.

    Starts the services for itself, and stops them after.
    """
    from securenet_client.cli.up import DEFAULT_PORTS  # noqa: PLC0415 - beside its only use
    from securenet_client.embedded import EmbeddedSuite  # noqa: PLC0415 - start-up must be quick
    from securenet_client.suite import SecureNet  # noqa: PLC0415 - likewise

    with run.out.status("starting services") as step:
        suite = EmbeddedSuite(
            ("registry", "scanner", "detection"), data_dir, ports=DEFAULT_PORTS if fixed_ports or stay else {},
            model=_MODEL, on_step=step,
        )  # fmt: skip
        suite.start()
    try:
        with SecureNet(suite.connection()) as net, TemporaryDirectory(prefix="securenet-demo-") as scratch:
            _first_model(run, net, Path(scratch))
            with run.out.status("detection loads the model"):
                suite.wait_for_model()
            _analyze(run, net, Path(scratch) / "capture")
            _scan(run, net)
            _match(run, net)
        show_addresses(run, suite)
        if stay:
            run.out.say("Ctrl-C stops them.")
            watch(run, suite)
    finally:
        with run.out.status("stopping services"):
            suite.stop()


def _first_model(run: Invocation, net: SecureNet, scratch: Path) -> None:
    """Trains and promotes a model where the registry has no champion."""
    from securenet_client.cli.train import finish, follow  # noqa: PLC0415 - start-up must be quick

    champion = next(
        (found for model in net.registry.list_models() if model.id == _MODEL and (found := model.alias())), None
    )
    if champion is not None:
        run.out.say(f"model {_MODEL}: version {champion.version} is champion")
        return
    from securenet_flows.simulation.training_offices import training_offices  # noqa: PLC0415 - likewise

    offices = training_offices()
    run.out.say(f"no model yet: training one on {len(offices)} simulated offices")
    folders = []
    for number, office in enumerate(offices, start=1):
        folders.append(scratch / f"training-{number}")
        _simulate(run, folders[-1], office, f"simulating office {number} of {len(offices)}")
    steps = net.registry.train_model(_MODEL, folders, seed=1, description="first model, on simulated traffic")
    version = finish(run, follow(run, steps, _MODEL))
    net.registry.promote_model_version(_MODEL, version.version, reason="first model")
    figures = ", ".join(
        f"{name} {value:.3f}" for name, value in sorted(version.overall_metrics().items()) if name in {"mcc", "f1"}
    )
    run.out.say(
        f"model {_MODEL}: version {version.version} is champion ({figures or 'no figures'} on simulated traffic)"
    )


def _simulate(run: Invocation, folder: Path, settings: SimulationSettings, doing: str) -> int:
    from securenet_flows.simulation import write_zeek_logs  # noqa: PLC0415 - start-up must be quick

    with run.out.progress() as progress:
        task = progress.add_task(doing, total=1.0, detail="")
        summary = write_zeek_logs(
            settings,
            folder,
            progress=lambda step: progress.update(task, completed=step.share, detail=f"{step.flows:,} flows"),
        )
    return summary.flows


def _analyze(run: Invocation, net: SecureNet, folder: Path) -> None:
    """Simulates a capture that the model has not seen, and shows verdicts and findings."""
    from securenet_client.analysis.capture import CaptureAnalysis  # noqa: PLC0415 - start-up must be quick
    from securenet_flows import open_capture  # noqa: PLC0415 - likewise
    from securenet_flows.simulation import ScheduledScenario, SimulationSettings  # noqa: PLC0415 - likewise

    shown = SimulationSettings(
        seed=7, duration_s=1800.0, hosts=40, scenarios=tuple(map(ScheduledScenario.parse, _SHOWN_FLOWS))
    )
    flows = _simulate(run, folder, shown, "simulating 30 minutes of an office")
    run.out.say(
        f"analysing {flows:,} flows with {', '.join(name.partition('@')[0] for name in _SHOWN_FLOWS)} among them"
    )
    right: dict[str, list[int]] = {"malicious": [0, 0], "benign": [0, 0]}
    with run.out.progress() as progress:
        task = progress.add_task("analysing", total=flows, detail="")
        analysis = CaptureAnalysis(net.detection, open_capture(folder))
        for rows in analysis:
            progress.update(task, completed=analysis.summary.rows)
            alarmed = rows.level >= _MEDIUM
            for label, counts in right.items():
                marked = rows.label.matches([label])
                counts[0] += int((marked & alarmed).sum())
                counts[1] += int(marked.sum())
    summary = analysis.summary
    run.out.table(list(zip(map(str, Level), summary.levels[1:], strict=True)), ("threat_level", "flows"), "Verdicts")
    hits, false = right["malicious"], right["benign"]
    run.out.say(
        f"at medium or above: {hits[0]:,} of {hits[1]:,} malicious flows, {false[0]:,} of {false[1]:,} benign flows"
    )
    evidence: list[dict[str, Any]] = []
    for finding in summary.findings[:_MOST_FINDINGS]:
        best = finding.evidence[0] if finding.evidence else None
        evidence.append(
            {
                **finding.as_dict(),
                "evidence": best.summary if best else finding.summary,
                "measured": best.measured if best else None,
                "threshold": best.threshold if best else None,
            }
        )
    if evidence:
        run.out.records(
            evidence, _EVIDENCE_COLUMNS, f"Findings: the gravest {len(evidence)} of {len(summary.findings)}"
        )


def _scan(run: Invocation, net: SecureNet) -> None:
    from securenet_client.cli.scan import follow_scan, show_scan  # noqa: PLC0415 - start-up must be quick

    started = net.scanner.start_scan(["127.0.0.1"], ports=_scanned_ports(net.settings), description="securenet demo")
    show_scan(run, follow_scan(run, net.scanner, started))


def _scanned_ports(settings: ConnectionSettings) -> str:
    """Well-known ports, and those of the services, so that there is something to find."""
    own = (address.rpartition(":")[2] for address in settings.addresses.values())
    return ",".join(("1-1024", *_MORE_PORTS, *sorted({port for port in own if port not in _MORE_PORTS})))


def _match(run: Invocation, net: SecureNet) -> None:
    from securenet_client.cli.match import environment_purls, matched, show_matches  # noqa: PLC0415 - as above

    purls = environment_purls()
    if net.scanner.get_knowledge() is None:
        run.out.say(
            f"{len(purls)} packages of this Python environment were not checked: no advisories have been imported, so "
            "nothing is known of them, which is not clean. To import OSV feeds:\n"
            "  securenet knowledge import --from FOLDER --embedded"
        )
        return
    show_matches(run, list(matched(net.scanner, purls)))

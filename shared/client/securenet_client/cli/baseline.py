"""`securenet baseline`: fits the models that serve to a site's own traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from securenet_client.cli.invocation import Invocation, OutputFormat, add_command
from securenet_client.cli.train import finish, follow, place

if TYPE_CHECKING:
    from securenet_client.registry.records import ModelVersion, Promotion


def register(application: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="Fit the model to a site's own traffic.", no_args_is_help=True)
    add_command(
        group,
        learn,
        "learn",
        examples=(
            "securenet baseline learn /var/log/zeek/2026-03-02/ /var/log/zeek/2026-03-03/ --promote",
            "securenet baseline learn office/ --name flow-threat --base 3 --embedded",
            "securenet baseline learn office/ --name flow-anomaly --promote",
        ),
    )
    application.add_typer(group, name="baseline")


def learn(
    run: Invocation,
    *,
    paths: Annotated[
        list[str],
        typer.Argument(help="Flow logs of the site, without labels, on the registry's machine.", metavar="PATH…"),
    ],
    name: Annotated[str, typer.Option(help="Model.")] = "flow-threat",
    base: Annotated[str, typer.Option(help="Version to go out from, by number or alias.")] = "champion",
    promote: Annotated[bool, typer.Option("--promote", help="Make the new version champion.")] = False,
) -> None:
    """Set a model's alarm threshold by a site's own flows, as a new version of the same model.

    The new threshold is the score that one in a thousand of the site's ordinary flows reaches; of an anomaly model, how
    rare each score is there is learned. Up to a twentieth of the flows may be an attack. The trees stay as they are. A
    day of traffic, or a few, is best.
    """
    with run.net("registry") as net:
        model = name.removeprefix("models/")
        steps = net.registry.train_model(
            model, [place(path) for path in paths], base_version=base, description="fitted to a site"
        )
        version = finish(run, follow(run, steps, f"{name} for this site"))
        promotion = None
        if promote:
            promotion = net.registry.promote_model_version(
                version.model, version.version, reason="securenet baseline learn --promote"
            )
    _show(run, version, promotion)


def _show(run: Invocation, version: ModelVersion, promotion: Promotion | None) -> None:
    metrics = version.overall_metrics()
    found = {name: metrics[name] for name in sorted(metrics) if name.startswith("site_")}
    if run.out.form != OutputFormat.TABLE:
        run.out.line({
            "model": version.model, "version": version.version,
            "threshold_before": found["site_threshold_before"], "threshold": found["site_threshold"],
            "alarmed_before": found["site_alarmed_before"], "alarmed": found["site_alarmed"],
            "flows": int(found["site_flows"]), "held": bool(found.get("site_threshold_held")),
            "promotion": None if promotion is None else promotion.state,
        })  # fmt: skip
        return
    run.out.table(
        [
            ("before", found["site_threshold_before"], f"{found['site_alarmed_before']:.3%}"),
            ("now", found["site_threshold"], f"{found['site_alarmed']:.3%}"),
        ],
        ("", "threshold", "flows of the site at or above it"),
        f"{version.name} ({int(found['site_flows']):,} flows)",
    )
    if found.get("site_threshold_held"):
        run.out.say("a higher threshold would be needed, and would silence most of what the model finds")
    if promotion is not None:
        run.out.say(f"{promotion.alias}: {promotion.from_version or 'no version'} → {promotion.to_version}")
    else:
        run.out.say(f"securenet models promote {version.model} {version.version} makes it serve")

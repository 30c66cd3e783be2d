"""`securenet models`: what the registry keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from securenet_client.cli import promotions, upkeep
from securenet_client.cli.invocation import CommandError, Invocation, OutputFormat, add_command
from securenet_client.cli.train import finish, follow, show_version

_SHOWN_METRICS: Final = ("mcc", "f1", "tpr_at_fpr_1pct", "ece")
_VERSION_COLUMNS: Final = (
    "version",
    "aliases",
    "state",
    "format",
    *_SHOWN_METRICS,
    "samples",
    "created_by",
    "create_time",
    "digest",
)


def register(application: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(
        help="List, compare, promote, roll back, fetch, register and remove models.", no_args_is_help=True
    )
    add_command(group, list_models, "list", examples=("securenet models list",))
    add_command(
        group,
        show,
        "show",
        examples=("securenet models show flow-threat", "securenet models show flow-threat champion"),
    )
    add_command(
        group,
        download,
        "download",
        examples=("securenet models download flow-threat champion model.onnx --flavor onnx",),
    )
    add_command(group, register_file, "register", examples=("securenet models register flow-threat model.skops",))
    add_command(group, drift, "drift", examples=("securenet models drift",))
    add_command(group, watch, "watch", examples=("securenet models watch trainings/1f3c",))
    add_command(group, cancel, "cancel", examples=("securenet models cancel trainings/1f3c",))
    promotions.add_to(group)
    upkeep.add_to(group)
    application.add_typer(group, name="models")


Name = Annotated[str, typer.Argument(help="Model.", metavar="NAME")]
VersionArgument = Annotated[str, typer.Argument(help="Number, alias or sha256:digest.", metavar="VERSION")]


def list_models(run: Invocation) -> None:
    """List models with their champions."""
    with run.net("registry") as net:
        records: list[dict[str, Any]] = [
            {
                "name": model.id,
                "versions": model.version_count,
                "latest": model.latest_version,
                "aliases": {alias.alias: alias.version for alias in model.aliases},
                "update_time": None if model.update_time is None else model.update_time.isoformat(),
                "description": model.description,
            }
            for model in net.registry.list_models()
        ]
    if run.out.form == OutputFormat.TABLE:
        records = [
            {**record, "aliases": [f"{alias} → {version}" for alias, version in record["aliases"].items()]}
            for record in records
        ]
    run.out.records(records, ("name", "versions", "latest", "aliases", "update_time", "description"))


def show(
    run: Invocation,
    *,
    name: Name,
    version: Annotated[str | None, typer.Argument(help="Number, alias or sha256:digest; all if not given.")] = None,
) -> None:
    """Show a model's versions, or one of them with all that was measured."""
    from securenet_client.messages import plain  # noqa: PLC0415 - start-up must be quick

    with run.net("registry") as net:
        if version is None:
            versions = list(net.registry.list_model_versions(name))
        else:
            versions = [net.registry.get_model_version(name, version)]
    if run.out.form in (OutputFormat.JSON, OutputFormat.JSONL):
        records = [
            {**plain(found), "metrics": found.overall_metrics(), "metrics_by_dataset": plain(found.metrics)}
            for found in versions
        ]
        run.out.records(records, ()) if version is None else run.out.document(records[0])
        return
    run.out.records(
        [
            {
                **{metric: found.overall_metrics().get(metric) for metric in _SHOWN_METRICS},
                "version": found.version, "aliases": list(found.aliases), "state": found.state, "format": found.format,
                "samples": found.sample_count, "created_by": found.created_by, "digest": found.digest[:16],
                "create_time": None if found.create_time is None else found.create_time.isoformat(timespec="seconds"),
            }
            for found in versions
        ],
        _VERSION_COLUMNS,
        name,
    )  # fmt: skip
    if version is not None:
        run.out.table([(m.name, m.dataset, m.value) for m in versions[0].metrics], ("metric", "measured on", "value"))


def download(
    run: Invocation,
    *,
    name: Name,
    version: VersionArgument,
    path: Annotated[Path, typer.Argument(help="File to write.")],
    flavor: Annotated[
        str, typer.Option(help="source; onnx, the form for serving; joblib, for who trusts the registry.")
    ] = "source",
) -> None:
    """Fetch a version's file; its digest is checked before it gets its name."""
    with run.net("registry") as net:
        header = net.registry.download_model_version(name, version, path, flavor=flavor)
    size = header.file.size_bytes if header.file else 0
    digest = header.file.digest if header.file else ""
    if run.out.form == OutputFormat.TABLE:
        run.out.say(f"{path}: {size:,} bytes, sha256:{digest}")
    else:
        run.out.document({"path": str(path), "size_bytes": size, "digest": digest})


def register_file(
    run: Invocation,
    *,
    name: Name,
    path: Annotated[Path, typer.Argument(help="Model file: .skops or .onnx.")],
    format_: Annotated[
        str | None, typer.Option("--format", help="skops or onnx; by the file's name if not given.")
    ] = None,
    schema_hash: Annotated[str, typer.Option(help="Hash of the feature schema that the model expects.")] = "",
    description: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Upload a model file as a new version; it is checked before it is signed."""
    with run.net("registry") as net:
        version = net.registry.register_model_version(
            name,
            path,
            format=format_ or path.suffix.removeprefix("."),
            feature_schema_hash=schema_hash,
            description=description,
        )
    run.out.say(f"{version.name}: {version.state}{': ' + version.state_detail if version.state_detail else ''}")
    show_version(run, version, None)


def drift(run: Invocation) -> None:
    """Show how far traffic is from what the model that detection scores with was trained on.

    It is the traffic that a service has scored since the day began, so a service must be running.
    """
    from securenet_client.messages import plain  # noqa: PLC0415 - start-up must be quick

    if run.embedded:
        raise CommandError(
            "drift is about the traffic that a service has scored, and one that is started for this command has scored "
            "none; expected --server, or the services that `securenet up` runs"
        )

    with run.net("detection") as net:
        found = net.detection.get_serving_model()
    if run.out.form != OutputFormat.TABLE:
        run.out.document(plain(found))
        return
    rows: list[tuple[str, Any]] = []
    for place, model in (("now", found.current), ("before", found.previous)):
        if model is not None and model.model is not None:
            rows.append((place, model.model.name))
            rows.append(
                ("  since", None if model.since_time is None else model.since_time.isoformat(timespec="seconds"))
            )
            rows.extend(("  limited", limitation) for limitation in model.limitations)
            if model.drift is not None:
                rows.append(("  alert rate", f"{model.drift.alert_rate:.2%} of flows"))
                rows.append(("  sampled today", f"{model.drift.sampled_rows:,} flows"))
                rows.extend(
                    (f"  drift of {one.feature}", f"{one.stability_index:.2f}") for one in model.drift.features[:5]
                )
                rows.extend(("  drifted", signal) for signal in model.drift.signals)
    odd = found.anomaly
    rows.append(("anomaly model", odd.model.name if odd is not None and odd.model is not None else None))
    rows += [("detail", detail) for detail in (found.detail, found.anomaly_detail) if detail]
    run.out.table(rows, ("model", "value"))


def watch(run: Invocation, training: Annotated[str, typer.Argument(help="Training, as train named it.")]) -> None:
    """Take a training up again, from its beginning to its end."""
    with run.net("registry") as net:
        version = finish(run, follow(run, net.registry.watch_training(training), training))
    show_version(run, version, None)


def cancel(run: Invocation, training: Annotated[str, typer.Argument(help="Training, as train named it.")]) -> None:
    """End a training."""
    with run.net("registry") as net:
        ended = net.registry.cancel_training(training)
    run.out.say(f"{ended.name}: {ended.state}")

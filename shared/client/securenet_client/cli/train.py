"""`securenet train`: a model from labelled captures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from securenet_client.cli.invocation import CommandError, ExitCode, Invocation, OutputFormat, add_command

if TYPE_CHECKING:
    from securenet_client.registry.records import ModelVersion, Promotion, Training, TrainingProgress


def register(application: typer.Typer) -> None:
    """Adds the command."""
    add_command(
        application,
        train,
        "train",
        examples=(
            "securenet train flow-threat --data day-1/ --data day-2/ --promote --embedded",
            "securenet train flow-threat --data captures/ --estimator random-forest --param n_estimators=200",
        ),
    )


def train(
    run: Invocation,
    *,
    name: Annotated[str, typer.Argument(help="Model; made if it is not there.", metavar="NAME")],
    data: Annotated[list[str], typer.Option(help="Labelled flow logs on the registry's machine; each is one capture.")],
    promote: Annotated[
        bool, typer.Option("--promote", help="Make the new version champion, if every gate passes.")
    ] = False,
    estimator: Annotated[
        str | None, typer.Option(help="hist-gradient-boosting (default), random-forest or isolation-forest.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="Parameter of the estimator, name=value; may be repeated.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Hold out by capture or by time.")] = None,
    held_out: Annotated[float, typer.Option(help="Part set apart for evaluation, 0.05–0.5; 0 is a quarter.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    tag: Annotated[
        list[str] | None, typer.Option(help="Free label of the version, name=value; may be repeated.")
    ] = None,
    description: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Train, evaluate and register a model version from labelled flow logs.

    The training goes on when this command is interrupted; it says how to take it up again or cancel it.
    """
    from securenet_client.registry.requests import pairs  # noqa: PLC0415 - start-up must be quick

    params, tags = pairs(param or (), "--param"), pairs(tag or (), "--tag")
    with run.net("registry") as net:
        steps = net.registry.train_model(
            name.removeprefix("models/"),
            [place(uri) for uri in data],
            estimator=estimator,
            params=params,
            split=split,
            held_out_fraction=held_out,
            seed=seed,
            tags=tags,
            description=description,
        )
        version = finish(run, follow(run, steps, name))
        promotion = None
        if promote:
            promotion = net.registry.promote_model_version(
                version.model, version.version, reason="securenet train --promote"
            )
    show_version(run, version, promotion)


def place(uri: str) -> str:
    """Paths are the registry's, which may run elsewhere in the file system; one that is here is made absolute."""
    if "://" in uri:
        return uri
    path = Path(uri)
    return str(path.resolve()) if path.exists() else uri


def follow(run: Invocation, steps: Iterator[TrainingProgress], what: str) -> Training | None:
    """Shows a training's steps; answers how it ended.

    Raises:
        CommandError: interrupted; the message says how to go on.
    """
    training: Training | None = None
    shown = (0.0, "")
    with run.out.progress() as progress:
        task = progress.add_task(f"training {what}", total=1.0, detail="")
        try:
            for step in steps:
                training = step.training or training
                progress.update(task, completed=step.fraction, detail=f"{step.phase}: {step.message}")
                if progress.disable and (step.phase != shown[1] or time.monotonic() - shown[0] > 10):
                    shown = (time.monotonic(), step.phase)
                    run.out.say(f"{step.fraction:4.0%} {step.phase}: {step.message}")
        except KeyboardInterrupt:
            name = training.name if training else "the training"
            # An embedded registry stops with this command, and queues the training again when it is next started.
            fate = "begins again when the registry is next started" if run.embedded else "goes on"
            more = " --embedded" if run.embedded else ""
            raise CommandError(
                f"interrupted; {name} {fate}\n  securenet models watch {name}{more}\n"
                f"  securenet models cancel {name}{more}",
                ExitCode.INTERRUPTED,
            ) from None
    return training


def finish(run: Invocation, training: Training | None) -> ModelVersion:
    """The version that a training made.

    Raises:
        CommandError: it made none.
    """
    if training is None or not training.ended:
        raise CommandError("the registry ended the stream before the training", ExitCode.UNREACHABLE)
    if training.model_version is None:
        raise CommandError(f"{training.name} {training.state}: {training.error or 'no version was made'}")
    run.out.say(f"{training.model_version.name} is registered")
    return training.model_version


def show_version(run: Invocation, version: ModelVersion, promotion: Promotion | None) -> None:
    """The result of a training: the metrics, and what became of the promotion."""
    metrics = version.overall_metrics()
    if run.out.form == OutputFormat.TABLE:
        run.out.table(sorted(metrics.items()), ("metric", "value"), f"{version.name} ({version.sample_count:,} rows)")
    if promotion is not None:
        run.out.say(
            f"{promotion.alias}: {promotion.from_version or 'no version'} → {promotion.to_version} ({promotion.state})"
        )
    if run.out.form != OutputFormat.TABLE:
        run.out.line({
            "model": version.model, "version": version.version, "metrics": metrics, "digest": version.digest,
            "samples": version.sample_count, "promotion": None if promotion is None else promotion.state,
        })  # fmt: skip

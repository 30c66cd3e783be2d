"""`securenet evaluate`: how well verdicts fit the labels of captures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from securenet_client.cli.invocation import CommandError, ExitCode, Invocation, add_command

if TYPE_CHECKING:
    from securenet_client.analysis.capture import CaptureAnalysis
    from securenet_flows import Capture, FlowBatch
    from securenet_flows.evaluation import LabelledCapture
    from securenet_flows.host_days import HostDays

_COLUMNS: Final = (
    "name",
    "flows",
    "malicious",
    "mcc",
    "f1",
    "tpr",
    "fpr",
    "tpr_at_fpr_1pct",
    "findings_high_per_host_day",
)
_HIGH: Final = 3


def register(application: typer.Typer) -> None:
    """Adds the command."""
    add_command(
        application,
        evaluate,
        "evaluate",
        examples=(
            "securenet evaluate captures/ --embedded",
            "securenet evaluate day-1.log day-2.log --output json --plot roc.png",
        ),
    )


def evaluate(
    run: Invocation,
    *,
    paths: Annotated[list[str], typer.Argument(help="Labelled flow logs: files or directories.", metavar="PATH…")],
    plot: Annotated[
        Path | None, typer.Option(help="Write ROC and precision-recall curves to a PNG, PDF or SVG.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Judge the streaming answer; do not look twice.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first record that cannot be read.")] = False,
    model: Annotated[str, typer.Option(help="With --embedded: the model to serve; by default the last promoted.")] = "",
) -> int:
    """Measure detection on labelled captures, each on its own and pooled.

    A flow counts as alarmed at MEDIUM or above; flows labelled unknown are left out. Every capture needs its labels:
    one without them is an error, never benign.
    """
    from securenet_client.cli.captures import Analyst, Reading  # noqa: PLC0415 - start-up must be quick
    from securenet_flows.evaluation import LabelledCapture  # noqa: PLC0415 - likewise
    from securenet_flows.evaluation import evaluate as figures  # noqa: PLC0415 - likewise
    from securenet_flows.exceptions import FlowDataError  # noqa: PLC0415 - likewise
    from securenet_flows.host_days import HostDays  # noqa: PLC0415 - likewise

    if plot is not None:
        _check_plot(plot)
    reading = Reading(run, strict=strict)
    labelled: list[LabelledCapture] = []
    unlabelled = 0
    with run.out.progress() as progress:
        days: dict[int, HostDays] = {}

        def counted(capture: Capture) -> Iterator[FlowBatch]:
            counter = days[id(capture)] = HostDays()
            for batch in capture:
                counter.add(batch)
                yield batch

        captures_found = reading.find(paths)
        for capture, analysis in Analyst(run, captures_found, model=model, once=once, fresh=True, batches_of=counted):
            task = progress.add_task(capture.name, total=None, detail="")
            try:
                rows = _Gathered.of(analysis)
                labelled.append(rows.labelled(capture.name, analysis, days[id(capture)]))
            except FlowDataError as error:
                unlabelled += 1
                run.out.complain(str(error))
            progress.remove_task(task)
    if not labelled:
        raise CommandError("no labelled capture could be read")
    captures = [figures(capture).as_dict() for capture in labelled]
    pooled = figures(LabelledCapture.pooled(labelled)).as_dict()
    if run.out.form in ("json", "jsonl"):
        run.out.document({"captures": captures, "pooled": pooled})
    else:
        run.out.records([*captures, pooled], _COLUMNS)
    if plot is not None:
        _plot(plot, labelled)
        run.out.say(f"curves: {plot}")
    reading.summarize()
    if unlabelled:
        run.out.say(f"{unlabelled} captures could not be judged")
    return ExitCode.WRONG_USAGE if reading.bad_files or unlabelled else ExitCode.CLEAN


class _Gathered:
    """Labels, scores and levels of a capture's rows."""

    def __init__(self) -> None:
        self._labels: list[Any] = []
        self._scores: list[Any] = []
        self._levels: list[Any] = []

    @classmethod
    def of(cls, analysis: CaptureAnalysis) -> _Gathered:
        """All rows of an analysis."""
        gathered = cls()
        for rows in analysis:
            gathered._labels.append(rows.label)
            gathered._scores.append(rows.score)
            gathered._levels.append(rows.level)
        return gathered

    def labelled(self, name: str, analysis: CaptureAnalysis, days: HostDays) -> LabelledCapture:
        """The capture as evaluation wants it.

        Raises:
            FlowDataError: there are no rows, or rows without a label.
        """
        import numpy as np  # noqa: PLC0415 - start-up must be quick

        from securenet_flows.batch import LABELS, Dictionary  # noqa: PLC0415 - likewise
        from securenet_flows.evaluation import LabelledCapture  # noqa: PLC0415 - likewise
        from securenet_flows.exceptions import FlowDataError  # noqa: PLC0415 - likewise

        if not self._scores:
            raise FlowDataError(f"{name}: no flow could be read")
        codes = [_codes(column, LABELS) for column in self._labels]
        return LabelledCapture.from_rows(
            name,
            Dictionary(np.concatenate(codes), LABELS),
            np.concatenate(self._scores),
            np.concatenate(self._levels),
            host_days=len(days),
            findings_high=sum(finding.threat_level >= _HIGH for finding in analysis.summary.findings),
        )


def _codes(column: Any, values: tuple[str, ...]) -> Any:
    """Codes of a column over other values; −1 where a value is not among them."""
    import numpy as np  # noqa: PLC0415 - start-up must be quick

    table = [values.index(value) if value in values else -1 for value in column.values]
    return np.array([*table, -1], dtype=np.int32)[column.codes]


def _check_plot(path: Path) -> None:
    from importlib.util import find_spec  # noqa: PLC0415 - start-up must be quick

    if path.suffix.lower() not in {".png", ".pdf", ".svg"}:
        raise CommandError(f"--plot {path}: expected a name that ends in .png, .pdf or .svg")
    if not path.absolute().parent.is_dir():
        raise CommandError(f"--plot {path}: the folder is not there")
    if find_spec("matplotlib") is None:
        raise CommandError("--plot needs matplotlib: install securenet-client[plot]")


def _plot(path: Path, captures: list[LabelledCapture]) -> None:
    """ROC and precision-recall of each capture and of all, side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - start-up must be quick
    from matplotlib.figure import Figure  # noqa: PLC0415 - likewise

    from securenet_flows.evaluation import Curve, LabelledCapture  # noqa: PLC0415 - likewise

    figure = Figure(figsize=(12, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    roc, pr = figure.subplots(1, 2)
    for capture in [*captures, LabelledCapture.pooled(captures)]:
        curve = Curve.of(capture.malicious, capture.score)
        pooled = capture.name == "pooled"
        style: dict[str, Any] = {"color": "black", "linewidth": 2} if pooled else {"linewidth": 1, "alpha": 0.8}
        if curve.auc is not None:
            roc.plot(*curve.roc(2000), label=f"{capture.name} (AUC {curve.auc:.3f})", **style)
        if curve.average_precision is not None:
            pr.plot(*curve.precision_recall(2000), label=f"{capture.name} (AP {curve.average_precision:.3f})", **style)
    roc.axvline(0.01, color="grey", linestyle=":", linewidth=1)
    for axes, x, y in ((roc, "false-positive rate", "true-positive rate"), (pr, "recall", "precision")):
        axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7, loc="lower right" if axes is roc else "lower left")
    figure.savefig(path, dpi=120)

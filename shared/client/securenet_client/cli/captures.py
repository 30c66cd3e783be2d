"""The captures that a command line names, each analysed on its own, with what cannot be read said where it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from securenet_client.analysis.capture import AnalysisSummary, CaptureAnalysis, capture_scope
from securenet_client.analysis.rows import DetectorNames
from securenet_client.cli.invocation import CommandError, Invocation
from securenet_client.connection import ConnectionSettings
from securenet_client.detection.client import DetectionClient
from securenet_client.detection.convert import MOST_ROWS
from securenet_flows import (
    Capture,
    FlowBatch,
    FlowDataError,
    LabelError,
    ReadOptions,
    ReadReport,
    RecordError,
    find_captures,
)

if TYPE_CHECKING:
    from securenet_client.embedded import EmbeddedSuite

#: Bad records of one file that are printed before they are only counted. Files that cannot be read always are.
_SHOWN_RECORDS: Final = 20


class Reading:
    """Finds captures, and counts and says what cannot be read of them.

    Attributes:
        bad_files: files that could not be read, or not to their end.
        bad_records: records that could not be read; the rest of their files could.
        bad_labels: flows that were read, without the label that their source should have given.
    """

    def __init__(self, run: Invocation, *, strict: bool) -> None:
        self.run = run
        self.bad_files = 0
        self.bad_records = 0
        self.bad_labels = 0
        self._shown: Counter[str] = Counter()
        self.options = ReadOptions(batch_rows=min(16_384, MOST_ROWS), strict=strict, on_error=self._tell)
        self.report = ReadReport()

    def find(self, paths: Sequence[str]) -> list[Capture]:
        """The captures of files, directories and `-`.

        Raises:
            CommandError: a path is not there.
        """
        missing = [path for path in paths if path != "-" and not Path(path).exists()]
        for path in missing:
            self.bad_files += 1
            self.run.out.complain(f"{path}: no such file or directory")
        return list(find_captures([path for path in paths if path not in missing], self.options, self.report))

    def _tell(self, error: FlowDataError) -> None:
        if isinstance(error, LabelError):
            self.bad_labels += 1
        elif isinstance(error, RecordError):
            self.bad_records += 1
            self._shown[error.path] += 1
            if self._shown[error.path] <= _SHOWN_RECORDS:
                self.run.out.complain(str(error))
            elif self._shown[error.path] == _SHOWN_RECORDS + 1:
                self.run.out.complain(
                    f"{error.path}: further bad records are only counted (--strict stops at the first)"
                )
        else:
            self.bad_files += 1
            self.run.out.complain(str(error))

    def summarize(self) -> None:
        """Says how much could not be read, on stderr."""
        for count, what in (
            (self.bad_files, "files could not be read, or not to their end"),
            (self.bad_records, "records could not be read"),
            (self.bad_labels, "flows lack the label that their source should have given"),
            (len(self.report.skipped), "files hold no flows of their own, and were left out"),
        ):
            if count:
                self.run.out.say(f"{count:,} {what}")


class Analyst:
    """Analyses captures one after another, each in a state of its own, so that behaviours of one never colour another.

    Args:
        run: the command.
        captures: in their order.
        model: to serve, where services are embedded.
        once: the streaming answer.
        fresh: findings of earlier runs over the same files stay out as well; else they are the same findings again.
        batches_of: reads a capture.
    """

    def __init__(
        self,
        run: Invocation,
        captures: Sequence[Capture],
        *,
        model: str = "",
        once: bool = False,
        fresh: bool = False,
        batches_of: Callable[[Capture], Iterable[FlowBatch]] = iter,
    ) -> None:
        self._run = run
        self._captures = captures
        self._model = model
        self._once = once
        self._fresh = fresh
        self._batches_of = batches_of
        self.names = DetectorNames()

    def __iter__(self) -> Iterator[tuple[Capture, CaptureAnalysis]]:
        """Each capture with its analysis, whose rows the caller takes before asking for the next."""
        if not self._captures:
            return
        with ExitStack() as stack, DetectionClient(settings=self._connection(stack)) as client:
            for capture in self._captures:
                scope = capture_scope(() if self._fresh else capture.paths)
                yield (
                    capture,
                    CaptureAnalysis(client, self._batches_of(capture), scope=scope, once=self._once, names=self.names),
                )

    def summaries(self, jobs: int) -> Iterator[tuple[Capture, AnalysisSummary]]:
        """Each capture with what came of it, so many at once, in the order in which they end. Rows are let go."""
        if not self._captures:
            return
        with ExitStack() as stack, DetectionClient(settings=self._connection(stack)) as client:
            pool = stack.enter_context(ThreadPoolExecutor(jobs, thread_name_prefix="capture"))
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            # First of all, so that who leaves early does not wait for the captures that are at work: their calls end.
            stack.callback(client.close)
            waiting = {pool.submit(self._summarize, client, capture): capture for capture in self._captures}
            for done in as_completed(waiting):
                yield waiting[done], done.result()

    def _summarize(self, client: DetectionClient, capture: Capture) -> AnalysisSummary:
        scope = capture_scope(() if self._fresh else capture.paths)
        # Names of its own: those that all captures share belong to one thread.
        analysis = CaptureAnalysis(client, self._batches_of(capture), scope=scope, once=self._once)
        for _ in analysis:
            pass
        return analysis.summary

    def _connection(self, stack: ExitStack) -> ConnectionSettings:
        if self._model and not self._run.embedded:
            raise CommandError("--model: a running service has its own model; it goes with --embedded")
        return self._start(stack).connection() if self._run.embedded else self._run.connection("detection")

    def _start(self, stack: ExitStack) -> EmbeddedSuite:
        """Detection with a folder of its own, so that earlier runs do not mix in; the registry where it has a model."""
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="securenet-analysis-")))
        services = ("registry", "detection") if has_models(self._run.data_dir) else ("detection",)
        if self._model and "registry" not in services:
            raise CommandError(f"--model {self._model}: {self._run.data_dir} holds no models; train one first")
        return stack.enter_context(self._run.suite(*services, detection_data_dir=scratch, model=self._model))


def has_models(data_dir: Path) -> bool:
    """Whether a registry has kept anything in the folder."""
    return (data_dir / "registry.sqlite").exists()

"""What happens when flows come faster than they can be scored: first the model goes, then details, then calls.

What counts is how long the work that was taken and not yet done will last: rows that wait times what a row has cost
lately, or how late the event loop is, whichever is more. What is left out of a call is settled when the call is taken,
by the work of others that lies before it, so a caller that is alone is never served less, however much it sends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from securenet_core.exceptions import ResourceExhaustedError
from securenet_detection.settings import LoadSettings

#: Cost of a row before any was measured, seconds, and how many rows that guess is worth.
_GUESS: Final = 5e-6
_GUESS_ROWS: Final = 4096

#: Rows after which what was measured counts half.
_HALF_LIFE: Final = 16_384

#: Scorings of fewer rows say more of the cost of a call than of that of a row.
_TELLING: Final = 64


@dataclass(slots=True)
class LoadCounters:
    """What was left out or refused since the start, for metrics."""

    rows_without_model: int = 0
    rows_without_details: int = 0
    refused_calls: int = 0


class Load:
    """The work that waits, for one event loop.

    Args:
        settings: bounds.
        clock: seconds that only rise.
    """

    def __init__(self, settings: LoadSettings, clock: Callable[[], float] = time.perf_counter) -> None:
        self._settings = settings
        self.clock = clock
        self.counters = LoadCounters()
        #: Rows that were taken and are not yet scored.
        self.rows = 0
        self._seconds = _GUESS * _GUESS_ROWS
        self._measured = float(_GUESS_ROWS)
        self._lag = 0.0

    @property
    def seconds(self) -> float:
        """How long what waits will last; however late the loop is, nothing waits where no rows do."""
        return max(self.rows * self._seconds / self._measured, self._lag) if self.rows else 0.0

    def measure(self, rows: int, seconds: float) -> None:
        """Learns what rows cost."""
        if rows >= _TELLING:
            kept = 0.5 ** (rows / _HALF_LIFE)
            self._seconds = self._seconds * kept + seconds
            self._measured = self._measured * kept + rows

    def late(self, seconds: float) -> None:
        """Learns how late the event loop is."""
        self._lag = seconds

    def take(self, rows: int, *, refusable: bool = True) -> Taken:
        """Takes work; leave the context when it is done or given up.

        Args:
            rows: to be scored.
            refusable: False for a further message of a stream that was let in; a stream has one at a time.

        Raises:
            ResourceExhaustedError: too much waits.
        """
        waiting, bounds = self.seconds, self._settings
        if refusable and (waiting > bounds.refuse_seconds or (self.rows and self.rows + rows > bounds.waiting_rows)):
            self.counters.refused_calls += 1
            raise ResourceExhaustedError(
                f"{self.rows} flows wait, which takes about {waiting:.1f} s; at most {bounds.waiting_rows} flows or "
                f"{bounds.refuse_seconds:g} s of work may",
                reason="OVERLOADED",
                retry_after=max(waiting / 2, 0.1),
            )
        taken = Taken(
            self,
            rows,
            without_model=waiting > bounds.shed_model_seconds,
            without_details=waiting > bounds.shed_details_seconds,
        )
        self.rows += rows
        self.counters.rows_without_model += rows * taken.without_model
        self.counters.rows_without_details += rows * taken.without_details
        return taken


class Taken:
    """Work of one call.

    Attributes:
        without_model: the model is left out.
        without_details: evidence is left out.
    """

    def __init__(self, load: Load, rows: int, *, without_model: bool, without_details: bool) -> None:
        self._load = load
        self._rows = rows
        self.without_model = without_model
        self.without_details = without_details

    def scored(self, rows: int) -> None:
        """So many of the rows wait no more."""
        done = min(rows, self._rows)
        self._rows -= done
        self._load.rows -= done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.scored(self._rows)

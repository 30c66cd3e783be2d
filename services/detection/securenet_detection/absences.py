"""Which detectors cannot judge which rows of a batch, because a field that they need is absent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache, reduce
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.interface import Definition
from securenet_detection.behaviours.observation import TCP, UDP, Observation
from securenet_detection.threats import Skipped
from securenet_flows.batch import REQUIRED

Bool = NDArray[np.bool_]

#: Marks of the flows that detectors judge, by protocols and ports.
_MARKS: Final = {
    ((TCP,), ()): rows.TCP_ROW,
    ((TCP, UDP), ()): rows.PORTED,
    ((TCP, UDP), (53,)): rows.LOOKUPS,
    ((1, 58), ()): rows.ICMP,
}


class Absences:
    """What detectors lack. They need the same few fields, so each column is looked at once, and most lack nothing.

    Args:
        definitions: of the detectors.
    """

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._definitions = tuple(definitions)
        fields = (field for definition in self._definitions for field in definition.required_fields)
        #: Which of them need each field.
        self._needing = {
            field: frozenset(at for at, one in enumerate(self._definitions) if field in one.required_fields)
            for field in fields
        }

    def of(self, seen: Observation) -> tuple[tuple[Skipped, ...], Mapping[str, tuple[str, Bool]]]:
        """Detectors that lack a field in every row, and by name those that lack one in some, with the rows."""
        if not len(seen):
            return (), {}
        numeric, present = seen.batch.numeric, seen.batch.present
        lacking: dict[str, Bool | Literal[True]] = {}
        for field in self._needing:
            if field not in numeric or field in present:
                absent = _absent(seen, field)
                if absent is not False:
                    lacking[field] = absent
        if not lacking:
            return (), {}
        everywhere: list[Skipped] = []
        somewhere: dict[str, tuple[str, Bool]] = {}
        for at in sorted(frozenset().union(*(self._needing[field] for field in lacking))):
            definition = self._definitions[at]
            for field in definition.required_fields:
                if field not in lacking:
                    continue
                found: Bool | bool = lacking[field]
                if definition.protocols or definition.ports:
                    found = _of_judged(found, seen, definition)
                if found is True:
                    everywhere.append(_skipped(definition.name, field))
                    somewhere.pop(definition.name, None)
                    break
                if found is not False:
                    somewhere.setdefault(definition.name, (_skipped(definition.name, field).reason, found))
        return tuple(everywhere), somewhere


@lru_cache(256)
def _skipped(name: str, field: str) -> Skipped:
    return Skipped(name, f"{field} is absent")


def _absent(seen: Observation, field: str) -> Bool | bool:
    """Rows without the field; True for all, False for none."""
    batch = seen.batch
    if field in batch.numeric:
        present = batch.present.get(field)
        return False if present is None else _told(~present)
    text = batch.text.get(field)
    if text is None:
        return field not in REQUIRED
    return _told(text.codes < 0)


def _of_judged(absent: Bool | bool, seen: Observation, definition: Definition) -> Bool | bool:
    """Rows without a field among those that a detector judges; True for all rows, False for none."""
    mark = _MARKS.get((definition.protocols, definition.ports))
    if mark is not None and not seen.any(mark):
        return False
    return _told(absent & (_judged(seen, definition) if mark is None else seen.mark(mark)))


def _told(found: Bool) -> Bool | bool:
    # Counting takes a fraction of the time of any() and all() for few rows.
    count = np.count_nonzero(found)
    return True if count == len(found) else found if count else False


def _judged(seen: Observation, definition: Definition) -> Bool:
    """Rows of the protocols and ports that a detector judges."""
    masks = [
        _among(column, values)
        for column, values in ((seen.protocol, definition.protocols), (seen.dst_port, definition.ports))
        if values
    ]
    return reduce(np.bitwise_and, masks)


def _among(column: NDArray[np.int64], values: tuple[int, ...]) -> Bool:
    # A comparison a value: for the two or three that there are, np.isin takes ten times as long.
    return reduce(np.bitwise_or, (column == value for value in values))

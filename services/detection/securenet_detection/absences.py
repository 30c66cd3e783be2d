"""Which detectors cannot judge which rows of a batch, because a field that they need is absent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours.interface import Definition
from securenet_detection.behaviours.observation import Observation
from securenet_detection.threats import Skipped

Bool = NDArray[np.bool_]


def absences(
    definitions: Iterable[Definition], seen: Observation
) -> tuple[tuple[Skipped, ...], Mapping[str, tuple[str, Bool]]]:
    """Detectors that lack a field in every row, and by name those that lack one in some, with the rows.

    Detectors need the same few fields, so each column is looked at once, and most lack nothing.
    """
    lacking: dict[str, Bool | None] = {}
    judging: dict[tuple[tuple[int, ...], tuple[int, ...]], Bool | None] = {}
    everywhere: list[Skipped] = []
    somewhere: dict[str, tuple[str, Bool]] = {}
    for definition in definitions:
        for field in definition.required_fields:
            absent = lacking[field] if field in lacking else lacking.setdefault(field, _absent(seen, field))
            if absent is None:
                continue
            key = (definition.protocols, definition.ports)
            judged = judging[key] if key in judging else judging.setdefault(key, _judged(seen, *key))
            if judged is not None:
                absent = absent & judged
                if not absent.any():
                    continue
            if absent.all():
                everywhere.append(Skipped(definition.name, f"{field} is absent"))
                somewhere.pop(definition.name, None)
                break
            somewhere.setdefault(definition.name, (f"{field} is absent", absent))
    return tuple(everywhere), somewhere


def _absent(seen: Observation, field: str) -> Bool | None:
    """Rows without the field; None where there are none."""
    if field in seen.batch.numeric and field not in seen.batch.present:
        return None
    absent = ~seen.batch.has(field)
    return absent if absent.any() else None


def _judged(seen: Observation, protocols: tuple[int, ...], ports: tuple[int, ...]) -> Bool | None:
    """Rows of the given protocols and ports; None where any may be."""
    masks = [
        _among(column, values) for column, values in ((seen.protocol, protocols), (seen.dst_port, ports)) if values
    ]
    return reduce(np.bitwise_and, masks) if masks else None


def _among(column: NDArray[np.int64], values: tuple[int, ...]) -> Bool:
    # A comparison a value: for the two or three that there are, np.isin takes ten times as long.
    return reduce(np.bitwise_or, (column == value for value in values))

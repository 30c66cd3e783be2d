"""How the features of the rows of a training were spread, as the manifest says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Edges of one feature at most.
MOST_EDGES: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSpread:
    """One feature.

    Attributes:
        edges: float64 (k,), strictly rising; bin i holds values above edge i − 1 up to edge i.
        shares: float64 (k + 2,), of the rows of the training in each bin; the last one of those whose value is unknown.
        median: of the known values; NaN where none is.
    """

    edges: NDArray[np.float64]
    shares: NDArray[np.float64]
    median: float


def read_distribution(document: Any, names: Sequence[str]) -> tuple[FeatureSpread, ...]:
    """Reads `{"features": [{"name": …, "edges": […], "shares": […], "median": … or null}, …]}`, a feature a column.

    Raises:
        ValueError: it is no such document, or of other features.
    """
    rows = document.get("features") if isinstance(document, Mapping) else None
    if not isinstance(rows, list) or len(rows) != len(names):
        raise ValueError(f"distribution: {type(rows).__name__}; expected {len(names)} features")
    return tuple(_spread(row, name) for row, name in zip(rows, names, strict=True))


def _spread(row: Any, name: str) -> FeatureSpread:
    if not isinstance(row, Mapping) or row.get("name") != name:
        raise ValueError(f"distribution: expected feature {name}")
    try:
        edges = np.asarray(row.get("edges"), np.float64)
        shares = np.asarray(row.get("shares"), np.float64)
        median = float("nan") if row.get("median") is None else float(row["median"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"distribution of {name}: {error}") from error
    if edges.ndim != 1 or not len(edges) <= MOST_EDGES or shares.shape != (len(edges) + 2,):
        raise ValueError(f"distribution of {name}: {edges.shape} edges and {shares.shape} shares")
    if not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise ValueError(f"distribution of {name}: edges do not rise")
    if not np.isfinite(shares).all() or (shares < 0).any() or not np.isclose(shares.sum(), 1.0, atol=1e-3):
        raise ValueError(f"distribution of {name}: shares do not add up to 1")
    return FeatureSpread(edges, shares, median)

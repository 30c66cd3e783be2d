"""How the features of the rows of a training are spread: what serving compares its own traffic with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Bins of about the same share that a feature is cut into, where its values allow it.
BINS: Final = 10


def spread(x: NDArray[np.float32], weight: NDArray[np.float64], names: Sequence[str]) -> dict[str, Any]:
    """As in a manifest: for each feature its median, the edges of its bins and the share of rows in each.

    Bin i holds values above edge i − 1 up to edge i. The first edge lies just below the least value, so that what is
    below all that was seen, and a feature that had one value only, have a bin of their own. The last share is that of
    rows whose value is unknown.

    Args:
        x: (n, columns), n > 0.
        weight: (n,), as the rows weighed in the fitting.
        names: of the columns.
    """
    return {"rows": len(x), "features": [_feature(x[:, at], weight, name) for at, name in enumerate(names)]}


def _feature(values: NDArray[np.float32], weight: NDArray[np.float64], name: str) -> dict[str, Any]:
    known = ~np.isnan(values)
    total = float(weight.sum())
    if not known.any():
        return {"name": name, "median": None, "edges": [], "shares": [0.0, 1.0]}
    order = np.argsort(values[known], kind="stable")
    ranked, passed = values[known][order], np.cumsum(weight[known][order])
    at = np.searchsorted(passed, np.arange(1, BINS) / BINS * passed[-1])
    lowest = np.nextafter(ranked[0], np.float32(-np.inf))
    edges = np.unique(np.concatenate([[lowest], ranked[at]])).astype(np.float64)
    places = np.searchsorted(edges, ranked, side="left")
    shares = np.bincount(places, weight[known][order], minlength=len(edges) + 1) / total
    median = ranked[np.searchsorted(passed, 0.5 * passed[-1])]
    unknown = float(weight[~known].sum()) / total
    return {"name": name, "median": float(median), "edges": edges.tolist(), "shares": [*shares.tolist(), unknown]}

"""How regular calls at random times look: what beacon's timestamp score is held against.

The gaps of a Poisson process are exponential, and regularity (:func:`.regularity_kernels.regularity`) does not change
with their scale, so its distribution depends on the number of calls alone. The tables were made by
`simulate(count, 4_000_000)` and are held to it by a test; values between two counts are taken from the lower one, whose
tail is the longer.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import regularity_kernels as loops

Float = NDArray[np.float64]

#: Numbers of calls that are tabulated; 64 are all that a ring holds.
COUNTS: Final = (16, 24, 32, 48, 64)

#: Shares of random series that are less regular than the quantile in the same column.
SHARES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999)

_QUANTILES: Final = (
    (0.1219, 0.1974, 0.2465, 0.3363, 0.4370, 0.5330, 0.6128, 0.6567, 0.7305, 0.7552, 0.8019, 0.8187, 0.8529),
    (0.1556, 0.2267, 0.2694, 0.3456, 0.4314, 0.5132, 0.5817, 0.6203, 0.6873, 0.7102, 0.7536, 0.7698, 0.8027),
    (0.1812, 0.2466, 0.2849, 0.3521, 0.4285, 0.5020, 0.5637, 0.5985, 0.6594, 0.6806, 0.7215, 0.7365, 0.7664),
    (0.2156, 0.2725, 0.3047, 0.3608, 0.4250, 0.4881, 0.5413, 0.5714, 0.6247, 0.6430, 0.6796, 0.6934, 0.7220),
    (0.2385, 0.2890, 0.3173, 0.3664, 0.4228, 0.4791, 0.5274, 0.5547, 0.6028, 0.6196, 0.6523, 0.6643, 0.6904),
)  # fmt: skip


def table() -> tuple[Float, Float, NDArray[np.int64]]:
    """Quantiles, float64 (counts, shares), with the shares and the counts."""
    return np.array(_QUANTILES), np.array(SHARES), np.array(COUNTS, np.int64)


def simulate(count: int, series: int, seed: int = 1) -> Float:
    """Quantiles of the regularity of so many random series of `count` calls."""
    rng = np.random.default_rng(seed)
    parts = [
        loops.regularity(rng.exponential(1.0, (min(100_000, series - done), count - 1)))
        for done in range(0, series, 100_000)
    ]
    return np.asarray(np.quantile(np.concatenate(parts), SHARES), np.float64)

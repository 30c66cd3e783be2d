"""Compiles every loop into numba's disk cache: `python -m securenet_detection.precompile`.

NUMBA_CACHE_DIR names the place, by default beside the sources. The cache is good for the same sources in the same
folder on the same kind of CPU; on another the loops are compiled at start, as without it.
"""

from __future__ import annotations

from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.settings import DetectorSettings

if __name__ == "__main__":
    Engine(DetectorSettings(), ModelSlot()).warm_up()

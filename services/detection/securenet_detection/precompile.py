"""Compiles every loop into numba's disk cache: `python -m securenet_detection.precompile`.

NUMBA_CACHE_DIR names the place, by default beside the sources. The cache is good for the same sources in the same
folder on the same kind of CPU; on another the loops are compiled at start, as without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import securenet_flows
from securenet_detection.detector_settings import DetectorSettings
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot


def forget_outdated(folders: Iterable[Path]) -> int:
    """Removes what was compiled before any source of a loop changed; answers how many files.

    numba compares a loop with its own file alone, and would go on with functions of other files as they were when they
    were compiled into it.
    """
    found = list(folders)
    sources = [path for folder in found for path in folder.rglob("*.py") if b"numba" in path.read_bytes()]
    changed = max((path.stat().st_mtime_ns for path in sources), default=0)
    outdated = [
        path for folder in found for path in folder.rglob("__pycache__/*.nb[ic]") if path.stat().st_mtime_ns < changed
    ]
    for path in outdated:
        path.unlink(missing_ok=True)
    return len(outdated)


if __name__ == "__main__":
    forget_outdated((Path(__file__).parent, Path(securenet_flows.__file__).parent))
    Engine(DetectorSettings(), ModelSlot()).warm_up()

"""What was compiled into one folder serves from a copy of it: nothing is compiled twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]

_COUNT = """
from securenet_detection.behaviours import kernels
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.settings import DetectorSettings
from securenet_flows import feature_kernels

Engine(DetectorSettings(), ModelSlot()).warm_up()
loops = [f for module in (kernels, feature_kernels) for f in vars(module).values() if getattr(f, "stats", None)]
cached = [f.stats for f in loops if f.stats.cache_path]
print(sum(map(lambda s: sum(s.cache_hits.values()), cached)), sum(map(lambda s: sum(s.cache_misses.values()), cached)))
"""


def run(cache: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, "NUMBA_CACHE_DIR": str(cache)}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_copy_of_the_cache_is_warm(tmp_path: Path) -> None:
    built = tmp_path / "built"
    run(built, "-m", "securenet_detection.precompile")
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    hits, misses = map(int, run(copy, "-c", _COUNT).split())
    assert hits > 0
    assert misses == 0

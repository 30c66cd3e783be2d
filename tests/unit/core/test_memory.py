"""What start alone needed is given back, and nothing that is still in use."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from securenet_core import memory

pytestmark = pytest.mark.unit

SMAPS = """\
7f0000000000-7f0000004000 r-xp 00001000 08:01 42                         /opt/lib python/libllvmlite.so
Rss:                  16 kB
Anonymous:             0 kB
7f0000004000-7f0000008000 r--p 00005000 08:01 42                         /opt/lib python/libllvmlite.so
Rss:                  16 kB
Anonymous:             8 kB
7f0000008000-7f000000c000 rw-p 00009000 08:01 42                         /opt/lib python/libllvmlite.so
Anonymous:             0 kB
7f000000c000-7f0000010000 r--p 00000000 00:00 0
Anonymous:             0 kB
7f0000010000-7f0000011000 r--p 00000000 08:01 43                         /usr/lib/libllvmlite.so/a name with 1 2 r-xp
Anonymous:             0 kB
7f0000020000-7f0000024000 r-xp 00001000 08:01 44                         /usr/lib/libother.so
Anonymous:             0 kB
"""


def test_only_unchanged_pages_of_files_are_given_back() -> None:
    assert memory._clean_mappings(SMAPS) == [(0x7F0000000000, 0x4000)]


def test_a_process_goes_on_after_it_settled() -> None:
    frozen, thresholds = gc.get_freeze_count(), gc.get_threshold()
    try:
        memory.settle()
        assert gc.get_freeze_count() > frozen
        assert gc.get_threshold()[0] > thresholds[0]
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is given back on Linux alone")
def test_libraries_work_after_their_pages_left() -> None:
    program = "from securenet_core import memory; memory.settle(); import hashlib; print(hashlib.sha256().hexdigest())"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("e3b0c442")

"""What was compiled from older sources is not used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from securenet_detection.precompile import forget_outdated

pytestmark = pytest.mark.unit


def write(path: Path, text: str, time: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time, time))
    return path


def test_a_change_of_any_loop_outdates_what_was_compiled_before(tmp_path: Path) -> None:
    write(tmp_path / "a" / "loops.py", "import numba", 100)
    write(tmp_path / "b" / "shared.py", "import numba", 300)
    write(tmp_path / "b" / "plain.py", "import json", 900)
    older = [write(tmp_path / "a" / "__pycache__" / f"loops.f-1.{end}", "", 200) for end in ("nbi", "1.nbc")]
    newer = write(tmp_path / "b" / "__pycache__" / "shared.g-1.nbi", "", 400)
    bytecode = write(tmp_path / "a" / "__pycache__" / "loops.cpython-311.pyc", "", 100)
    assert forget_outdated([tmp_path / "a", tmp_path / "b"]) == 2
    assert not any(path.exists() for path in older)
    assert newer.exists()
    assert bytecode.exists()
    assert forget_outdated([tmp_path / "a", tmp_path / "b"]) == 0

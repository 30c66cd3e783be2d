"""Has a trained model's joblib form opened and scored by a process of its own, as whoever uses it would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import Final, Protocol

from securenet_registry.artifacts.trained import TrainedModel

#: Versions whose answer is remembered; the bytes under a digest never change.
_REMEMBERED: Final = 1024


class Reopener(Protocol):
    """Opens a joblib form and compares its scores with the golden ones."""

    def problem(self, model: TrainedModel) -> str:
        """What is wrong with it; empty where it opens and scores as its manifest says. Blocks."""


class ProcessReopener:
    """See :class:`Reopener`.

    Args:
        seconds: it may take at most so long.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._sound: set[tuple[str, str]] = set()

    def problem(self, model: TrainedModel) -> str:
        """See the port."""
        key = (model.resource, model.file.digest)
        if key in self._sound:
            return ""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-m", "securenet_registry.training.checks"],
                input=json.dumps({**asdict(model), "place": str(model.place.absolute())}).encode(),
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=self._seconds, check=False,
                env={**kept, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"opening it took longer than {self._seconds:g} s"
        if done.returncode != 0:
            return f"the process that opened it ended with code {done.returncode}"
        problem = str(json.loads(done.stdout)["problem"])
        if not problem and len(self._sound) < _REMEMBERED:
            self._sound.add(key)
        return problem

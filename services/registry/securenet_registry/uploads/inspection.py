"""Has an uploaded model checked by a process that may come to harm."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

#: Fields of the manifest that a check may set.
_DETAILS: Final = ("serving", "calibration", "golden", "runtime", "feature_schema_hash", "feature_names")

#: Longest answer of the process, in bytes.
_ANSWER: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a check.

    Attributes:
        refusal: why the model is refused; empty where it is not.
        files: files that the check made, below the folder: a form for serving and how it agrees.
        details: fields of the manifest.
    """

    refusal: str = ""
    files: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


class Inspector(Protocol):
    """Checks a model."""

    async def inspect(self, folder: Path, name: str, schema_hash: str) -> Finding:
        """Checks the file of that name in a folder, which the check may write to.

        Args:
            schema_hash: of the features that the uploader says it expects; empty where it does not say.
        """


class ProcessInspector:
    """See :class:`Inspector`.

    Args:
        seconds: it may take at most so long.
        memory: it may use at most so much address space, bytes.
    """

    def __init__(self, seconds: float, memory: int) -> None:
        self._seconds = seconds
        self._memory = memory
        # Opening a model takes a core and memory: one at a time.
        self._turn = asyncio.Semaphore(1)

    async def inspect(self, folder: Path, name: str, schema_hash: str) -> Finding:
        """See the port."""
        request = {"file": name, "schema_hash": schema_hash, "seconds": self._seconds, "memory": self._memory}
        async with self._turn:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-m", "securenet_registry.uploads.inspector", str(folder),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True, limit=_ANSWER, cwd=folder, env=_environment(),
            )  # fmt: skip
            try:
                async with asyncio.timeout(self._seconds):
                    answer, _ = await process.communicate(json.dumps(request).encode())
            except TimeoutError:
                return Finding(f"its check took longer than {self._seconds:g} s")
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    await process.wait()
        if process.returncode != 0 or len(answer) > _ANSWER:
            code = process.returncode or 0
            said = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return Finding(f"its check ended with {said}: the model is broken, or larger than a check may use")
        return _finding(json.loads(answer), folder)


def _finding(answer: Mapping[str, Any], folder: Path) -> Finding:
    """The answer of a process that opened untrusted bytes: only what is expected is taken over."""
    if answer.get("refusal"):
        return Finding(str(answer["refusal"])[:2000])
    files = tuple(
        path for path in ("derived/model.onnx", "derived/agreement.json")
        if (folder / path).is_file() and not (folder / path).is_symlink() and not (folder / "derived").is_symlink()
    )  # fmt: skip
    said = answer["details"]
    return Finding(files=files, details={name: said[name] for name in _DETAILS if name in said})


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}

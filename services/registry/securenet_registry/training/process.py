"""Runs the training worker as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

#: Longest line that a worker may say: a result with its golden batch.
_LINE: Final = 32 << 20

#: Variables that a worker gets; credentials of the registry are not among them.
_ENVIRONMENT: Final = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE",
    "NUMBA_CACHE_DIR", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG",
)  # fmt: skip


class TrainingWorker(Protocol):
    """Trains a job in a folder."""

    def run(self, folder: Path) -> AsyncGenerator[Mapping[str, Any], None]:
        """What the worker says, the last being a result or an error. Closing the iterator ends the worker."""


class ProcessWorker:
    """See :class:`TrainingWorker`. The worker runs in a group of its own, at low priority.

    Args:
        module: what to run.
        seconds: it may take at most so long.
    """

    def __init__(self, module: str = "securenet_registry.training.worker", seconds: float = 3600.0) -> None:
        self._module = module
        self._seconds = seconds

    async def run(self, folder: Path) -> AsyncGenerator[Mapping[str, Any], None]:
        """See the port."""
        # The worker's standard input stays open as long as this process lives: that is how it learns of our end.
        with (folder / "worker.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, str(folder),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, limit=_LINE,
                start_new_session=True, env=_environment(),
            )  # fmt: skip
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        ended = False
        try:
            with contextlib.suppress(OSError, AttributeError):
                os.setpriority(os.PRIO_PROCESS, process.pid, 10)
            async with asyncio.timeout(self._seconds):
                while line := await process.stdout.readline():
                    message = json.loads(line)
                    ended = message["kind"] in {"result", "error"}
                    yield message
                code = await process.wait()
            if not ended:
                yield {"kind": "error", "message": f"the worker ended with {_said(code)}", "expected": False}
        except TimeoutError:
            yield {"kind": "error", "message": f"the worker took longer than {self._seconds:g} s", "expected": True}
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


def _environment() -> dict[str, str]:
    """The worker's environment.

    Fitting uses half of the cores, since the service is to go on; and threads that wait do not spin: on a busy machine
    spinning makes a fit of one second last half a minute.
    """
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)), "OMP_WAIT_POLICY": "PASSIVE"}
    kept = {name: os.environ[name] for name in (*_ENVIRONMENT, *threads) if name in os.environ}
    return {**threads, **kept}


def _said(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

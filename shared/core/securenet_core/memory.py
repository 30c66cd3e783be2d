"""Gives back what a process needed to start and does not need to serve."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from pathlib import Path
from typing import Final

#: `madvise` advice, the same on every Linux.
_DONTNEED: Final = 4

#: How many more objects are made than let go before the youngest are looked through for cycles. Python's default of 700
#: has a service that answers with columns and messages look some hundred times a second, and find nothing.
_YOUNG: Final = 50_000

#: Libraries that only start needs: the compiler that loops are loaded with. Of others nobody here knows whether some
#: thread is about to load or unload them, and an address that means another mapping by then would lose its content.
_START_ONLY: Final = ("libllvmlite",)

#: A mapping of such a library that nobody may write to, as /proc/self/smaps heads it.
_READ_ONLY_FILE: Final = re.compile(
    rf"([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]\d* +/.*/(?:{'|'.join(_START_ONLY)})[^/]*$"
)
_ANY: Final = re.compile(r"[0-9a-f]+-[0-9a-f]+ ")


def settle() -> None:
    """Collects garbage, spares what is left every later collection, has those be seldom, and returns free memory.

    Pages of libraries that only start needs leave the process as well: they are clean copies of files, and what is
    touched again comes back from the page cache. On other systems than Linux only the first half is done.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc
        libc.malloc_trim(0)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start, length in _clean_mappings(Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace")):
        libc.madvise(start, length, _DONTNEED)


def _clean_mappings(smaps: str) -> list[tuple[int, int]]:
    """Start and length of read-only mappings of those libraries that hold nothing but their file's content.

    What the loader relocated is read-only too, but differs from the file; the kernel counts it as anonymous.
    """
    found = []
    mapping: re.Match[str] | None = None
    for line in smaps.splitlines():
        if _ANY.match(line):
            mapping = _READ_ONLY_FILE.match(line)
        elif mapping is not None and line.split()[:2] == ["Anonymous:", "0"]:
            start, end = int(mapping[1], 16), int(mapping[2], 16)
            found.append((start, end - start))
    return found

"""How loops over rows are compiled: with numba's disk cache wherever one can be written.

numba looks at the age of a loop's own file alone; :mod:`.precompile` forgets what was compiled before a change in any
of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def jit(function: Callable[..., Any]) -> Any:
    """Compiles a loop that lets other threads run. NUMBA_CACHE_DIR names the cache's place."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        # Neither the source's folder nor the user's cache folder can be written: compiled at each start instead.
        return numba.njit(nogil=True)(function)

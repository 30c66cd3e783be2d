"""Packages that a library looks for when it is loaded, and that this suite does not want loaded on that account."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Imports in the context do not find these packages, unless they are loaded already.

    Some libraries load whatever integration happens to be installed beside them: a web framework, a colour terminal,
    half a second and tens of megabytes that a server never uses. Only for packages that are optional to the importer.
    """
    absent = [name for name in names if name not in sys.modules]
    # None is how the import system is told that there is no such module.
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # typeshed knows modules alone
    try:
        yield
    finally:
        for name in absent:
            if sys.modules.get(name) is None:
                del sys.modules[name]

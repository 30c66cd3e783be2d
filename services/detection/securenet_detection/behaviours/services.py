"""What a service's name says to the detectors: one look at each name, whatever the number of rows."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_flows.batch import Dictionary

#: Facts of a name: people log in there, a mining protocol, name resolution; then what it administers, from 1 on.
LOGIN, MINING, LOOKUP = 1, 2, 4
ADMINISTERS_AT: Final = 3

#: Services that administer a host, by position; WinRM is HTTP and known by its ports alone.
RDP, SMB, SSH, WINRM = range(4)

_LOGIN: Final = frozenset({"ssh", "ftp", "rdp", "smb", "telnet", "vnc", "rfb"})
_MINING: Final = frozenset({"mining", "stratum"})
_ADMINISTERS: Final = {"rdp": RDP, "smb": SMB, "ssh": SSH}

#: Longer lists of names are not worth keeping.
_LONGEST: Final = 256
_NAMELESS: Final = np.zeros(1, np.int64)


def facts(services: Dictionary | None) -> NDArray[np.int64]:
    """int64 (values + 1,): facts of each value of a column of services; none of the last, for absent rows."""
    if services is None:
        return _NAMELESS
    return np.array([*(_known(value) if len(value) <= _LONGEST else _facts(value) for value in services.values), 0])


def _facts(service: str) -> int:
    # Zeek joins those that it recognised with commas.
    names = service.split(",")
    return (
        LOGIN * (not _LOGIN.isdisjoint(names))
        + MINING * (not _MINING.isdisjoint(names))
        + LOOKUP * (service == "dns")
        + (_ADMINISTERS.get(service, -1) + 1 << ADMINISTERS_AT)
    )


_known = lru_cache(1024)(_facts)

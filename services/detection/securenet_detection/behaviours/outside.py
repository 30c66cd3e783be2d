"""How usual each destination outside is; the detectors of what leaves the network share it.

What many of the network's own hosts use is hardly one attacker's server. RITA lowers the score of what at least half of
the hosts use and raises that of what at most one in fifty does. Here a destination is popular from a smaller share on,
since one office does not have one mail service alone, but from several hosts on in any case; and it is rare only in a
network of which enough hosts are known. Destinations are addresses: a server name is the caller's own word, which
malware chooses to look usual.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import prevalence_kernels as loops
from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours import tables
from securenet_detection.behaviours.interface import Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.detector_settings import PrevalenceSettings, StateSettings

#: Ports of services that push: web, mail (IMAP), chat (XMPP), the great push services, MQTT over TLS, and media (STUN).
PUSHING: Final = np.zeros(1 << 16, np.bool_)
PUSHING[[80, 143, 443, 993, 3478, 3479, 3480, 3481, 5222, 5223, 5228, 5229, 5230, 8080, 8443, 8883, 19302]] = True

#: Words of the bitmap of the network's hosts, a power of two: 64 bits each, enough for some ten thousand hosts.
_WORDS: Final = 64
#: Bits of the bitmap of a destination's users; more users than it tells apart are many in any network.
_BITS: Final = 64
_MOST_TOLD: Final = 100
_DAY_MS: Final = 86_400_000


class Outside:
    """What one tenant's hosts use outside; shared by the detectors of the tenant."""

    def __init__(self, settings: PrevalenceSettings, state: StateSettings) -> None:
        self._index = np.zeros((state.entities, 2), np.int64)
        self._rows = np.zeros((state.entities, 3), np.int64)
        self._counters = np.zeros(tables.COUNTERS, np.int64)
        self._hosts = np.zeros(_WORDS + 1, np.int64)
        self._limits = _limits(settings)
        self._period = max(int(settings.days * _DAY_MS), 1)
        self._latest: tuple[Observation, NDArray[np.uint8]] | None = None

    def prevalence(self, seen: Observation) -> NDArray[np.uint8]:
        """uint8 (n,): UNKNOWN, RARE or POPULAR for the destination, as of the row.

        A batch is counted once, however many detectors ask one after the other.
        """
        if self._latest is None or self._latest[0] is not seen:
            self._latest = seen, self._rate(seen)
        return self._latest[1]

    def _rate(self, seen: Observation) -> NDArray[np.uint8]:
        found = np.zeros(len(seen), np.uint8)
        if seen.any(rows.CALLS):
            loops.rate_destinations(
                self._index, self._rows, self._counters, self._hosts, seen.src, seen.dst, seen.mark(rows.CALLS),
                self._limits, seen.number(rows.TIMES), self._period, seen.ordinal, seen.learn, found,
            )  # fmt: skip
        return found

    def usage(self) -> Usage:
        """State held now."""
        return Usage(
            entries=int(self._counters[tables.ENTRIES]),
            capacity=len(self._index),
            evictions=int(self._counters[tables.EVICTIONS]),
            bytes=self._index.nbytes + self._rows.nbytes + self._hosts.nbytes,
        )


def bits_of(users: NDArray[np.float64], bits: int) -> NDArray[np.int64]:
    """Bits of a bitmap that so many distinct users are expected to set (linear counting), at least one; int64 (n,)."""
    expected: NDArray[np.float64] = np.rint(-bits * np.expm1(-users / bits))
    return np.maximum(1, expected).astype(np.int64)


def _limits(settings: PrevalenceSettings) -> NDArray[np.int64]:
    """int64 (64 · words + 1, 2): by bits set in the bitmap of hosts, until where rare, from where popular."""
    size = 64 * _WORDS
    hosts = -size * np.log1p(-np.minimum(np.arange(size + 1), size - 1) / size)
    popular = np.clip(settings.popular_share * hosts, settings.popular_hosts, _MOST_TOLD)
    rare = np.minimum(np.maximum(1.0, settings.rare_share * hosts), popular - 1)
    told = np.where(hosts >= settings.known_hosts, bits_of(rare, _BITS), 0)
    return np.stack((told, bits_of(popular, _BITS)), axis=1)

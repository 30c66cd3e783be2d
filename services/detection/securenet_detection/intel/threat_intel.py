"""A host of ours talks to what a feed lists, or is talked to by it.

A rule: each flow is judged alone. The level follows from the feed's confidence and from who reached out: a host that
connects to a listed address, asks for a listed name or fetches a listed URL is up to CRITICAL; one that was reached
from a listed address a level less, and LOW where it refused or did not answer, since everybody on the Internet is
knocked at. A fingerprint is a level less as well, since programs share them. Findings are one a host and indicator.

Evidence stands at the flows that meet an indicator and at no others, so each is its own cause, and none fades.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import kernels as behaviour_kernels
from securenet_detection.behaviours.episodes import Episodes
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.detector_settings import StateSettings, ThreatIntelSettings
from securenet_detection.intel import judge_kernels
from securenet_detection.intel.index import Entry, IntelIndex
from securenet_detection.intel.matching import Matches, match
from securenet_detection.threats import AnalyticType, Technique

#: Name of the detector.
THREAT_INTEL: Final = "threat-intel"

_DAY: Final = 86_400

#: By column: what happened, with its two sides and, where it is about one, a name.
_SENTENCES: Final = {
    judge_kernels.SOURCE: "{entity} was contacted by {peer}",
    judge_kernels.DESTINATION: "{entity} contacted {peer}",
    judge_kernels.DNS: "{entity} asked for {name}",
    judge_kernels.SERVER_NAME: "{entity} opened TLS to {name} at {peer}",
    judge_kernels.HOST: "{entity} sent HTTP to {name} at {peer}",
    judge_kernels.URL: "{entity} fetched http://{name} from {peer}",
    judge_kernels.CERTIFICATE: "{entity} was shown the certificate {name} by {peer}",
    judge_kernels.JA3: "{entity} exchanged the JA3 fingerprint {name} with {peer}",
    judge_kernels.JA4: "{entity} exchanged the JA4 fingerprint {name} with {peer}",
}
_NAMES: Final = {
    judge_kernels.DNS: "dns_query", judge_kernels.SERVER_NAME: "tls_server_name", judge_kernels.HOST: "http_host",
}  # fmt: skip


class ThreatIntel:
    """Compares flows with a tenant's indicators. Key: the host that it is about, and the indicator.

    Say with :meth:`consult` which index the batches that follow are compared with.
    """

    def __init__(self, settings: ThreatIntelSettings, state: StateSettings) -> None:
        self._settings = settings
        self._lookback = int(settings.lookback_days * _DAY)
        self._episodes = Episodes(entities=state.entities, members=0, window_ns=int(settings.window_seconds * 1e9))
        self._index: IntelIndex | None = None
        # Of the latest batch: what it was compared with, and what it met there.
        self._seen: Observation | None = None
        self._matched: tuple[IntelIndex, Matches] | None = None
        self.definition = Definition(
            name=THREAT_INTEL,
            version="1",
            description="Addresses, names, URLs and fingerprints that a feed lists; measured in the feed's confidence.",
            analytic_type=AnalyticType.RULE,
            thresholds=(
                Threshold("minimum_confidence", settings.minimum_confidence, "percent", "entries below do not speak"),
                Threshold("window", settings.window_seconds, "seconds", "how long a finding is the same episode"),
                Threshold("lookback", settings.lookback_days, "days", "how long before its validity an entry speaks"),
            ),
            required_fields=(),
            techniques=(),
            measure="confidence in percent",
        )

    @property
    def index(self) -> IntelIndex | None:
        """What batches are compared with, if anything."""
        return self._index

    def consult(self, index: IntelIndex | None) -> None:
        """Compares with this index from now on; None: with nothing."""
        self._index = index

    def observe(self, seen: Observation) -> Observed | None:
        """Takes the rows in their order; None where no row meets an indicator."""
        self._seen = self._matched = None
        index = self._index
        if index is None:
            return None
        matches = match(index, seen, least=self._settings.minimum_confidence, lookback=self._lookback)
        if matches is None:
            return None
        self._seen, self._matched = seen, (index, matches)
        rows = len(seen)
        level = np.zeros(rows, np.uint8)
        level[matches.rows] = matches.levels
        percent = np.zeros(rows)
        percent[matches.rows] = index.confidence[matches.entries]
        keys = np.zeros(rows, np.int64)
        keys[matches.rows] = behaviour_kernels.combine(
            np.where(_about_source(seen, matches), seen.src[matches.rows], seen.dst[matches.rows]),
            _identities(index, matches.entries),
        )
        out = self._episodes.count(
            seen, keys=keys, members=keys, weights=(level > 0).astype(np.int64), thresholds=np.ones(rows, np.int64)
        )
        if out is None:
            out = np.zeros((rows, 7), np.int64)
        return Observed(
            level=level,
            confidence=percent / 100,
            measured=percent,
            threshold=np.full(rows, float(self._settings.minimum_confidence)),
            technique=np.zeros(rows, np.uint8),
            event=out[:, 1].astype(np.uint8),
            sample=out[:, 2],
            flows=out[:, 3],
            first_seen_ns=out[:, 4],
            certain=out[:, 6],
        )

    def warm_up(self) -> None:
        """Compares with an index that holds a bit of everything, so that every loop is compiled."""
        self.consult(IntelIndex.sample())

    def scope(self, seen: Observation, row: int) -> Scope:
        """The host that it is about, and the indicator."""
        entry, _, about_source = self._at(seen, row)
        return Scope(seen.source(row) if about_source else seen.destination(row), entry.indicator, None)

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        """One sentence: what happened, and which feed of which date says what of it."""
        entry, column, about_source = self._at(seen, row)
        sides = (seen.source(row), seen.destination(row))
        name = (seen.batch.texts(_NAMES[column])[row] or "")[:100] if column in _NAMES else entry.indicator[:100]
        happened = _SENTENCES[column].format(entity=sides[not about_source], peer=sides[about_source], name=name)
        if seen.failed[row]:
            happened += ", which was not answered"
        return f"{happened}: {_said(entry)}, with a confidence of {shown.measured:.0f} %"

    def technique(self, seen: Observation, row: int) -> Technique | None:
        """What the feed says that the indicator stands for."""
        return self._at(seen, row)[0].technique

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        """At most ten flows of the host and the indicator, up to this row."""
        return self._episodes.samples(shown.sample)

    def usage(self) -> Usage:
        """State held now: hosts and indicators that met. The indicators are the library's."""
        return self._episodes.usage()

    def _at(self, seen: Observation, row: int) -> tuple[Entry, int, bool]:
        """Entry, column and whether it is about the source, of a row that met an indicator."""
        if self._seen is not seen or self._matched is None:
            raise LookupError("the evidence of a batch must be read before the next batch is observed")
        index, matches = self._matched
        at = int(np.searchsorted(matches.rows, row))
        about_source = bool(_about_source(seen, matches)[at])
        return index.entry(int(matches.entries[at])), int(matches.columns[at]), about_source


def _about_source(seen: Observation, matches: Matches) -> NDArray[np.bool_]:
    """Whether the host that a match is about began the flow: never the listed side, else the local one."""
    local = seen.src_local[matches.rows] | ~seen.dst_local[matches.rows]
    listed_source = matches.columns == judge_kernels.SOURCE
    listed_destination = matches.columns == judge_kernels.DESTINATION
    about: NDArray[np.bool_] = ~listed_source & (listed_destination | local)
    return about


def _identities(index: IntelIndex, entries: NDArray[np.int32]) -> NDArray[np.int64]:
    """int64 (m,): a number for each entry's value that is the same in every set and for every feed."""
    distinct, where = np.unique(entries, return_inverse=True)
    digests = [
        hashlib.blake2b(repr((int(key.kind), key.prefix, key.flags, key.data)).encode(), digest_size=8).digest()
        for key in map(index.entries.columns.key, distinct.tolist())
    ]
    return np.frombuffer(b"".join(digests), np.int64)[where]


def _said(entry: Entry) -> str:
    """Which feed says what, and of when."""
    date = entry.listed or entry.feed.data_time
    day = f"on {_day(date)}" if date else f"imported on {_day(entry.feed.import_time)}"
    label = f" as {entry.label}" if entry.label else ""
    identity = f" ({entry.identity})" if entry.identity else ""
    return f"feed {entry.feed.name} lists {entry.kind} {entry.indicator[:100]}{identity}{label}, {day}"


def _day(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).date().isoformat()

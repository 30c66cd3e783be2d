"""The names that a batch's flows asked DNS for: each distinct one is read once, whatever the number of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import name_kernels as kernels
from securenet_flows.batch import Dictionary, FlowBatch

Int64 = NDArray[np.int64]

#: A name has at most 255 octets (RFC 1035); of a longer text the end is read, where its domain stands.
_LONGEST: Final = 255

#: What one's own network and special-use names end in (RFC 6761, 6762, 8375, 9476; RFC 6762 appendix G; ICANN on
#: name collisions). `arpa` holds the reverse lookups: long, many, and nobody's to register.
LOCAL_SUFFIXES: Final = (
    "arpa", "local", "localdomain", "localhost", "lan", "home", "corp", "internal", "intranet", "private", "invalid",
    "test", "example", "onion", "alt", "workgroup", "domain", "wpad", "belkin", "dlink", "fritz.box",
)  # fmt: skip

#: Services that are asked by names made of hashes, addresses or checksums: reputation of files, mail and web.
REPUTATION_DOMAINS: Final = (
    "avqs.mcafee.com", "avts.mcafee.com", "gti.mcafee.com", "sophosxl.net", "sophosxl.com", "e5.sk", "webcfs00.com",
    "cymru.com", "spamhaus.org", "spamhaus.net", "dnsbl.sorbs.net", "spamcop.net", "surbl.org", "uribl.com",
    "barracudacentral.org", "barracudabrts.com", "dnswl.org", "senderscore.com", "trendmicro.com", "trendmicro.net",
    "kaspersky-labs.com", "ksn.kaspersky-labs.com", "avira.com", "avast.com", "ff.avast.com", "bitdefender.net",
    "fortiguard.net", "urlhaus.abuse.ch", "invaluement.com", "mailspike.net", "bondedsender.org", "rspamd.com",
    "spamassassin.org", "razor2.cloudmark.com", "clamav.net", "malwarepatrol.net", "safeframe.googlesyndication.com",
    "metric.gstatic.com", "footprintdns.com", "measure.office.com",
    "perf.linkedin.com", "cedexis-radar.net", "cdnmetrics.net", "apnic.net",
)  # fmt: skip

_MODEL: Final = "dga_names.npz"

#: Names of which is remembered what was read of them.
_REMEMBERED: Final = 1 << 12


@dataclass(frozen=True, slots=True, eq=False)
class QueriedNames:
    """What is known of the names of a batch, a row of :data:`known` a flow; zeros where a flow asked for none.

    Attributes:
        known: int64 (n, COLUMNS), see :mod:`.name_kernels`.
    """

    known: Int64

    def column(self, column: int) -> Int64:
        """int64 (n,): one of the columns."""
        return np.ascontiguousarray(self.known[:, column])

    def has(self, flags: int) -> NDArray[np.bool_]:
        """Boolean (n,): which names carry one of the flags."""
        found: NDArray[np.bool_] = (self.known[:, kernels.FLAGS] & flags) != 0
        return found


class NameReader:
    """Reads names; the list of suffixes and the weights are loaded when the first name comes.

    Args:
        seed: key of the hashes, so that nobody can aim at a suffix or a bucket.
        suffixes: the public suffixes and their kinds.
        local: further suffixes of one's own network.
        reputation: further domains of reputation services.
        remembered: names of which is remembered what was read of them.
    """

    def __init__(
        self,
        *,
        seed: int,
        suffixes: Callable[[], Sequence[tuple[bytes, int]]],
        local: Sequence[str],
        reputation: Sequence[str],
        remembered: int = _REMEMBERED,
    ) -> None:
        self._seed = seed
        self._suffixes = suffixes
        self._own = [
            *((name.strip(".").encode(), kernels.LOCAL) for name in (*LOCAL_SUFFIXES, *local)),
            *((name.strip(".").encode(), kernels.REPUTATION) for name in (*REPUTATION_DOMAINS, *reputation)),
        ]
        self._rules: Int64 | None = None
        self._weights = np.zeros(1, np.float32)
        self._shapes = np.zeros(kernels.SHAPES + 1)
        self._places: dict[str, int] = {}
        self._table = np.zeros((remembered, kernels.COLUMNS), np.int64)

    def read(self, batch: FlowBatch) -> QueriedNames | None:
        """What is known of the names that the rows asked for; None where no row asked."""
        column = batch.text.get("dns_query")
        if column is None or not column.values or not (column.codes >= 0).any():
            return None
        return QueriedNames(self.known(column))

    def known(self, column: Dictionary) -> Int64:
        """int64 (n, COLUMNS): what is known of the names of a text column."""
        if self._rules is None:
            self._rules = self._load()
        # A piece of a batch carries the whole batch's dictionary; only what its own rows use is read.
        used = np.zeros(len(column.values) + 1, np.bool_)
        used[column.codes] = True
        used[-1] = False
        kept = np.flatnonzero(used)
        # Only the end of a name is read, so nothing longer is remembered.
        names = [column.values[code][-_LONGEST:] for code in kept.tolist()]
        out = np.zeros((len(names) + 1, kernels.COLUMNS), np.int64)
        out[:-1] = self._recall(names, self._rules)
        again = np.cumsum(used) - 1
        again[~used] = len(names)
        found: Int64 = out[again[column.codes]]
        return found

    def _recall(self, names: list[str], rules: Int64) -> Int64:
        """int64 (m, COLUMNS): what is known of names. Most were asked for a moment ago, and reading one takes long."""
        places = self._places
        rows = list(map(places.get, names))
        if None in rows:
            fresh = list(dict.fromkeys(name for name, row in zip(names, rows, strict=True) if row is None))
            if len(places) + len(fresh) > len(self._table):
                places.clear()
                fresh = list(dict.fromkeys(names))
            if len(fresh) > len(self._table):
                return self._read(names, rules)
            begin, end = len(places), len(places) + len(fresh)
            self._table[begin:end] = self._read(fresh, rules)
            places.update(zip(fresh, range(begin, end), strict=True))
            rows = list(map(places.get, names))
        return self._table[np.array(rows, np.int64)]

    def _read(self, names: list[str], rules: Int64) -> Int64:
        texts = [_octets(name) for name in names]
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(text) for text in texts], out=offsets[1:])
        out = np.zeros((len(texts), kernels.COLUMNS), np.int64)
        kernels.read_names(
            np.frombuffer(b"".join(texts) + b"\0", np.uint8).copy(), offsets, self._seed, rules, self._weights,
            self._shapes, out,
        )  # fmt: skip
        return out

    def _load(self) -> Int64:
        with np.load(files("securenet_detection.behaviours").joinpath(_MODEL).open("rb")) as model:
            self._weights = model["weights"].astype(np.float32) * np.float32(model["scale"])
            self._shapes = model["shapes"].astype(np.float64)
        rules = [*self._suffixes(), *self._own]
        offsets = np.zeros(len(rules) + 1, np.int64)
        np.cumsum([len(text) for text, _ in rules], out=offsets[1:])
        table = np.zeros((1 << (2 * len(rules) - 1).bit_length(), 2), np.int64)
        blob = np.frombuffer(b"".join(text for text, _ in rules), np.uint8).copy()
        kernels.build_rules(blob, offsets, np.array([kind for _, kind in rules], np.int64), self._seed, table)
        return table


def _octets(name: str) -> bytes:
    return name[-_LONGEST:].encode("utf-8", "surrogatepass")[-_LONGEST:]


def registered(name: str, start: int) -> str:
    """The registered domain of a name, as text, given where it begins in what was read of it."""
    return _octets(name)[start:].decode("utf-8", "replace").rstrip(".").lower()

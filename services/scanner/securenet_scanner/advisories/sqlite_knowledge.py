"""Reads the knowledge base file: one immutable connection a version, kept while anybody reads from it."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from securenet_scanner import versions
from securenet_scanner.advisories.knowledge import (
    AdvisoryFacts,
    Exploitation,
    Feed,
    Knowledge,
    KnowledgeFileError,
    PackageAdvisory,
)
from securenet_scanner.advisories.osv import Affected, Event, Rule
from securenet_scanner.advisories.sqlite_builder import SCHEMA_VERSION
from securenet_scanner.cvss import Severity

_MAX_CACHED = 4_096
"""Packages whose compiled rules are kept; compiling costs more than the query."""

_QUERY = """
SELECT f.rule, a.id, a.aliases, a.summary, a.severity, a.score, a.vector, a.published, a.refs
FROM affected AS f JOIN advisory AS a ON a.key = f.advisory
WHERE f.ecosystem = ? AND f.name = ? ORDER BY a.key
"""


class SqliteAdvisorySource:
    """One version of the knowledge base. Safe to call from several threads; SQLite serialises them."""

    def __init__(self, path: Path) -> None:
        # `immutable` spares all locking: a version is never written again, another one takes its name.
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[str, str], tuple[PackageAdvisory, ...]] = OrderedDict()
        try:
            self.knowledge = self._read_knowledge()
        except (sqlite3.DatabaseError, KeyError, ValueError) as error:
            self._connection.close()
            raise KnowledgeFileError(f"{path} is no knowledge base of this version: {error}") from error

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._connection.close()

    def advisories(self, ecosystem: str, name: str) -> Sequence[PackageAdvisory]:
        """Every advisory, not withdrawn, that speaks of a package."""
        key = (ecosystem, name)
        with self._lock:
            found = self._cache.get(key)
            if found is None:
                found = self._load(ecosystem, name)
                self._cache[key] = found
                if len(self._cache) > _MAX_CACHED:
                    self._cache.popitem(last=False)
            else:
                self._cache.move_to_end(key)
        return found

    def exploitation(self, ids: Iterable[str]) -> Mapping[str, Exploitation]:
        """KEV and EPSS of those of the ids that are CVEs and known there."""
        known: dict[str, Exploitation] = {}
        with self._lock:
            for cve in ids:
                if not cve.startswith("CVE-"):
                    continue
                listed = self._connection.execute("SELECT 1 FROM kev WHERE cve = ?", (cve,)).fetchone() is not None
                rated = self._connection.execute("SELECT probability FROM epss WHERE cve = ?", (cve,)).fetchone()
                if listed or rated is not None:
                    known[cve] = Exploitation(listed, None if rated is None else float(rated[0]))
        return known

    def _load(self, ecosystem: str, name: str) -> tuple[PackageAdvisory, ...]:
        order = versions.ordering(ecosystem)
        if order is None:
            return ()
        found = []
        for rule, id_, aliases, summary, severity, score, vector, published, refs in self._connection.execute(
            _QUERY, (ecosystem, name)
        ):
            ranges, listed = json.loads(rule)
            affected = Affected(
                ecosystem,
                name,
                tuple(tuple(Event(kind, at) for kind, at in events) for events in ranges),
                tuple(listed),
            )
            facts = AdvisoryFacts(
                id_,
                tuple(json.loads(aliases)),
                summary,
                Severity(severity),
                score,
                vector,
                published,
                tuple(json.loads(refs)),
            )
            found.append(PackageAdvisory(facts, Rule(affected, order)))
        return tuple(found)

    def _read_knowledge(self) -> Knowledge:
        execute = self._connection.execute
        meta = dict(execute("SELECT key, value FROM meta").fetchall())
        if meta["schema"] != str(SCHEMA_VERSION):
            raise ValueError(f"schema {meta['schema']}, expected {SCHEMA_VERSION}: import the feeds again")
        names = sorted(str(name) for (name,) in execute("SELECT name FROM ecosystem WHERE packages > 0"))
        feeds = tuple(
            Feed(name, source, _time(when), count, rejected, digest)
            for name, source, when, count, rejected, digest in execute(
                "SELECT name, source, data_time, records, rejected, digest FROM feed ORDER BY rowid"
            )
        )
        return Knowledge(
            version=meta["version"],
            build_time=datetime.fromisoformat(meta["build_time"]),
            data_time=_time(meta["data_time"]),
            feeds=feeds,
            covered=tuple(name for name in names if versions.ordering(name) is not None),
            uncovered=tuple(name for name in names if versions.ordering(name) is None),
        )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


class SqliteKnowledgeBase:
    """The version that serves now, told by the file that lies at `path`.

    Another process may build a file and put it there: each block looks whether it is still the same one, at the cost
    of one `stat`. A version that was replaced is closed after its last reader.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._identity: tuple[int, int, int] | None = None
        self._current: SqliteAdvisorySource | None = None
        self._readers: dict[SqliteAdvisorySource, int] = {}

    @property
    def path(self) -> Path:
        """Where the file lies, or will."""
        return self._path

    @contextmanager
    def reading(self) -> Iterator[SqliteAdvisorySource | None]:
        """The version that serves now, kept until the block ends; None where there is none.

        Raises `KnowledgeFileError` where the file cannot be used.
        """
        with self._lock:
            source = self._refresh()
            if source is not None:
                self._readers[source] = self._readers.get(source, 0) + 1
        try:
            yield source
        finally:
            if source is not None:
                with self._lock:
                    self._readers[source] -= 1
                    self._retire(source)

    def close(self) -> None:
        """Close what nobody reads; the rest closes after its readers."""
        with self._lock:
            last, self._current, self._identity = self._current, None, None
            if last is not None:
                self._retire(last)

    def _refresh(self) -> SqliteAdvisorySource | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return self._current
        identity = (status.st_dev, status.st_ino, status.st_mtime_ns)
        if identity != self._identity:
            fresh = SqliteAdvisorySource(self._path)
            last, self._current, self._identity = self._current, fresh, identity
            if last is not None:
                self._retire(last)
        return self._current

    def _retire(self, source: SqliteAdvisorySource) -> None:
        if source is not self._current and not self._readers.get(source):
            self._readers.pop(source, None)
            source.close()

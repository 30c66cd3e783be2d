"""Builds the knowledge base as one SQLite file: aside, checked, and then put in the place of the old one at once."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from securenet_scanner import versions
from securenet_scanner.advisories import feeds, records
from securenet_scanner.advisories.feeds import FeedError, FeedFile, FeedKind, Limits
from securenet_scanner.advisories.importing import ImportStep, Teller
from securenet_scanner.advisories.osv import Advisory, Affected, Rule

SCHEMA_VERSION = 2
"""Part of the knowledge version: the same feeds read by other rules are other knowledge."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE feed (name TEXT, source TEXT, data_time TEXT, records INTEGER, rejected INTEGER, digest TEXT);
CREATE TABLE ecosystem (name TEXT PRIMARY KEY, packages INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE advisory (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL, modified TEXT NOT NULL, published TEXT NOT NULL,
    withdrawn INTEGER NOT NULL, summary TEXT NOT NULL, severity INTEGER NOT NULL, score REAL, vector TEXT NOT NULL,
    aliases TEXT NOT NULL, refs TEXT NOT NULL);
CREATE TABLE affected (ecosystem TEXT NOT NULL, name TEXT NOT NULL, advisory INTEGER NOT NULL, rule TEXT NOT NULL);
CREATE TABLE stale (key INTEGER PRIMARY KEY);
CREATE TABLE kev (cve TEXT PRIMARY KEY, date_added TEXT NOT NULL, ransomware INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE epss (cve TEXT PRIMARY KEY, probability REAL NOT NULL) WITHOUT ROWID;
"""
_CHUNK = 2_000
_MAX_REJECTIONS = 20
_ABANDONED_AFTER = 3_600.0
"""Seconds without a write."""


class BuildCancelledError(FeedError):
    """Nobody waits for the build any more; nothing was changed."""


@dataclass(slots=True)
class _Progress:
    """How far a build is, over all feeds."""

    tell: Teller
    cancelled: threading.Event
    bytes_total: int
    feed: str = ""
    records_read: int = 0
    bytes_read: int = 0
    rejected: int = 0
    rejections: list[str] = field(default_factory=list)

    def reject(self, problem: str) -> None:
        """Count one record that could not be used; keep the first twenty complaints."""
        self.rejected += 1
        if len(self.rejections) < _MAX_REJECTIONS:
            self.rejections.append(problem)

    def publish(self) -> None:
        """Tell how far it is, and end here where nobody listens."""
        if self.cancelled.is_set():
            raise BuildCancelledError("nobody waits for the import any more")
        self.tell(
            ImportStep(
                feed=self.feed,
                records_read=self.records_read,
                bytes_read=self.bytes_read,
                bytes_total=self.bytes_total,
                rejected=self.rejected,
                rejections=tuple(self.rejections),
            )
        )


class SqliteKnowledgeBuilder:
    """`KnowledgeBuilder` that puts its file where readers look for it."""

    def __init__(self, target: Path, limits: Limits) -> None:
        self._target = target
        self._limits = limits

    def build(
        self, folder: Path, source: str, tell: Teller, cancelled: threading.Event, *, validate_only: bool = False
    ) -> None:
        """Import every feed of a folder and put the result in place, unless only its soundness is asked for.

        Raises `FeedError` where a feed as a whole is broken, or once `cancelled` is set; the file in place is then as
        it was.
        """
        files, _ = feeds.find(folder, self._limits)
        target = self._target
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        aside = target.with_name(f".building-{uuid.uuid4().hex}.sqlite")
        try:
            connection = sqlite3.connect(aside, isolation_level=None)
            try:
                # The file is worthless until it is whole: nothing is journalled, and one fsync at the end is enough.
                connection.executescript(
                    "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536;" + _SCHEMA
                )
                progress = _Progress(tell, cancelled, sum(feed.size for feed in files))
                _Build(connection, progress, self._limits, source).run(files)
                _check(connection)
            finally:
                connection.close()
            if not validate_only:
                _publish(aside, target)
        finally:
            aside.unlink(missing_ok=True)


def _check(connection: sqlite3.Connection) -> None:
    (state,) = connection.execute("PRAGMA integrity_check").fetchone()
    if state != "ok":
        raise FeedError(f"the built file does not pass its integrity check: {state}")
    (advisories,) = connection.execute("SELECT count(*) FROM advisory").fetchone()
    if not advisories:
        raise FeedError("no advisory in any feed: at least one OSV feed is needed")


def _sweep(folder: Path) -> None:
    """Remove what builds left that were killed; one that still runs, perhaps of another process, is younger."""
    for left in folder.glob(".building-*.sqlite"):
        if time.time() - left.stat().st_mtime > _ABANDONED_AFTER:
            left.unlink(missing_ok=True)


def _publish(aside: Path, target: Path) -> None:
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class _Build:
    """One build: feed by feed into one transaction."""

    def __init__(self, connection: sqlite3.Connection, progress: _Progress, limits: Limits, source: str) -> None:
        self._connection = connection
        self._progress = progress
        self._limits = limits
        self._source = source
        self._now = datetime.now(UTC)
        self._seen: dict[str, tuple[str, int]] = {}
        self._next = 1
        self._newest_kev = ""

    def run(self, files: list[FeedFile]) -> None:
        done = 0
        digests: list[str] = []
        dates: list[datetime] = []
        self._connection.execute("BEGIN")
        for feed in files:
            self._progress.feed = feed.name
            rejected = self._progress.rejected
            digest = feeds.digest(feed.path)
            name, count, when = self._read(feed, done)
            done += feed.size
            self._progress.bytes_read = done
            self._progress.publish()
            digests.append(digest)
            dates += [when] if when else []
            self._connection.execute(
                "INSERT INTO feed VALUES (?, ?, ?, ?, ?, ?)",
                (name, f"{self._source}/{feed.name}", when.isoformat() if when else None, count,
                 self._progress.rejected - rejected, digest),
            )  # fmt: skip
        self._finish(digests, dates)
        self._connection.execute("COMMIT")

    def _read(self, feed: FeedFile, offset: int) -> tuple[str, int, datetime | None]:
        if feed.kind is FeedKind.KEV:
            return self._read_kev(feed)
        if feed.kind is FeedKind.EPSS:
            return self._read_epss(feed, offset)
        return self._read_osv(feed, offset)

    def _read_osv(self, feed: FeedFile, offset: int) -> tuple[str, int, datetime | None]:
        count = 0
        newest = ""
        first_problem = ""
        ecosystems: Counter[str] = Counter()
        advisories: list[tuple[object, ...]] = []
        affected: list[tuple[object, ...]] = []
        now = self._now.strftime("%Y-%m-%dT%H:%M:%SZ")
        for raw in feeds.records(feed, self._limits):
            self._progress.records_read += 1
            if self._progress.records_read % _CHUNK == 0:
                self._progress.bytes_read = offset + raw.position
                self._write(advisories, affected)
                self._progress.publish()
            try:
                if raw.problem:
                    raise records.BadRecordError(raw.problem)
                advisory = records.advisory(feeds.parse_json(raw.data, self._limits))
            except ValueError as error:
                first_problem = first_problem or f"{raw.place}: {error}"
                self._progress.reject(f"{raw.place}: {error}")
                continue
            count += 1
            for stated in (advisory.modified, advisory.published):  # some feeds state dates to come, others the year 1
                if newest < stated <= now:
                    newest = stated
            ecosystems.update({item.ecosystem.partition(":")[0] for item in advisory.affected})
            self._add(advisory, advisories, affected)
        if not count:
            raise FeedError(first_problem or f"{feed.name}: no record")
        self._write(advisories, affected)
        name = next(iter(ecosystems)) if len(ecosystems) == 1 else feed.path.name.partition(".")[0]
        return f"osv:{name}", count, _time(newest)

    def _add(
        self, advisory: Advisory, advisories: list[tuple[object, ...]], affected: list[tuple[object, ...]]
    ) -> None:
        known = self._seen.get(advisory.id)
        if known is not None:
            if known[0] >= advisory.modified:
                return
            self._connection.execute("INSERT OR IGNORE INTO stale VALUES (?)", (known[1],))
        key = self._next
        self._next += 1
        self._seen[advisory.id] = (advisory.modified, key)
        advisories.append(
            (key, advisory.id, advisory.modified, advisory.published, advisory.withdrawn, advisory.summary,
             int(advisory.severity), advisory.score, advisory.vector, json.dumps(advisory.aliases),
             json.dumps(advisory.references))
        )  # fmt: skip
        if not advisory.withdrawn:
            for item in advisory.affected:
                ranges = [[(event.kind, event.version) for event in events] for events in item.ranges]
                affected.append(
                    (item.ecosystem, item.name, key, json.dumps([ranges, _unranged(item)], separators=(",", ":")))
                )

    def _write(self, advisories: list[tuple[object, ...]], affected: list[tuple[object, ...]]) -> None:
        self._connection.executemany("INSERT INTO advisory VALUES (?,?,?,?,?,?,?,?,?,?,?)", advisories)
        self._connection.executemany("INSERT INTO affected VALUES (?,?,?,?)", affected)
        advisories.clear()
        affected.clear()

    def _read_kev(self, feed: FeedFile) -> tuple[str, int, datetime | None]:
        try:
            body = feeds.parse_json(feeds.document(feed, self._limits), self._limits)
        except FeedError:
            raise
        except ValueError as error:
            raise FeedError(f"{feed.name}: {error}") from error
        rows = []
        released = ""
        if isinstance(body, dict):
            released = str(body.get("dateReleased") or "")[:40]
            items = body.get("vulnerabilities")
            for i, item in enumerate(items if isinstance(items, list) else []):
                self._progress.records_read += 1
                if not isinstance(item, dict) or not isinstance(item.get("cveID"), str):
                    self._progress.reject(f"{feed.name}: vulnerabilities[{i}].cveID: expected a string")
                    continue
                ransomware = item.get("knownRansomwareCampaignUse") == "Known"
                rows.append((item["cveID"][:64], str(item.get("dateAdded") or "")[:10], ransomware))
        if not rows:
            raise FeedError(f"{feed.name}: vulnerabilities: no entry with a cveID")
        # Several editions may lie together: the newest one alone says what is exploited.
        if released < self._newest_kev:
            return "kev", 0, _time(released)
        self._newest_kev = released
        self._connection.execute("DELETE FROM kev")
        self._connection.execute("UPDATE feed SET records = 0 WHERE name = 'kev'")
        self._connection.executemany("INSERT OR REPLACE INTO kev VALUES (?, ?, ?)", rows)
        return "kev", len(rows), _time(released)

    def _read_epss(self, feed: FeedFile, offset: int) -> tuple[str, int, datetime | None]:
        when = feeds.date_in_name(feed.name)
        rows: list[tuple[str, float]] = []
        count = 0
        for raw in feeds.records(feed, self._limits):
            text = raw.data.decode("utf-8", "replace").strip()
            if text.startswith("#"):
                stated = text.partition("score_date:")[2]
                when = _time(stated.partition(",")[0]) or when
                continue
            if text.startswith("cve,"):
                continue
            self._progress.records_read += 1
            row = _epss_row(text)
            if row is None:
                self._progress.reject(f"{raw.place}: expected CVE,probability,percentile")
                continue
            rows.append(row)
            count += 1
            if len(rows) >= 20_000:
                self._progress.bytes_read = offset + raw.position
                self._connection.executemany("INSERT OR REPLACE INTO epss VALUES (?, ?)", rows)
                rows.clear()
                self._progress.publish()
        self._connection.executemany("INSERT OR REPLACE INTO epss VALUES (?, ?)", rows)
        if not count:
            raise FeedError(f"{feed.name}:1: no line with a CVE and a probability")
        return "epss", count, when

    def _finish(self, digests: list[str], dates: list[datetime]) -> None:
        execute = self._connection.execute
        execute("DELETE FROM affected WHERE advisory IN (SELECT key FROM stale)")
        execute("DELETE FROM advisory WHERE key IN (SELECT key FROM stale)")
        execute("DROP TABLE stale")
        execute("CREATE INDEX affected_by_package ON affected (ecosystem, name)")
        execute("CREATE INDEX advisory_by_id ON advisory (id)")
        counts: Counter[str] = Counter()
        for ecosystem, packages in execute("SELECT ecosystem, count(DISTINCT name) FROM affected GROUP BY ecosystem"):
            counts[str(ecosystem).partition(":")[0]] += packages
        self._connection.executemany("INSERT INTO ecosystem VALUES (?, ?)", counts.items())
        content = hashlib.sha256(f"{SCHEMA_VERSION}\n".encode() + "\n".join(sorted(digests)).encode())
        meta = {
            "version": content.hexdigest()[:16],
            "schema": str(SCHEMA_VERSION),
            "build_time": self._now.isoformat(),
            "data_time": max(dates).isoformat() if dates else "",
        }
        self._connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())


def _unranged(item: Affected) -> Sequence[str]:
    """The listed versions that no range holds: the others say nothing more, and are most of what feeds list."""
    order = versions.ordering(item.ecosystem)
    if order is None or not item.ranges or not item.versions:
        return item.versions
    ranges = Rule(replace(item, versions=()), order)
    return [version for version in item.versions if not ranges.affects(order(version))]


def _epss_row(text: str) -> tuple[str, float] | None:
    cve, _, rest = text.partition(",")
    try:
        probability = float(rest.partition(",")[0])
    except ValueError:
        return None
    return (cve[:64], probability) if cve and 0.0 <= probability <= 1.0 else None


def _time(text: str) -> datetime | None:
    try:
        when = datetime.fromisoformat(text[:32])
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)

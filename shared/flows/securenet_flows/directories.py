"""Which files of a directory belong together, which are the same flows once more, and which hold none."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from securenet_flows.captures import Capture, Member, ReadOptions
from securenet_flows.exceptions import FlowDataError, UnreadableFileError
from securenet_flows.readers.columns import MADE_UP_ID
from securenet_flows.readers.detection import detect
from securenet_flows.readers.interface import Format
from securenet_flows.readers.registered import reader_of
from securenet_flows.readers.sources import Source
from securenet_flows.readers.zeek_logs import APPLICATION
from securenet_flows.report import FileLog, ReadReport, SkippedFile

#: Zeek's script for long connections writes what it knows of connections that are still open to logs of this name.
_OPEN: Final = "open_"
_ZEEK: Final = (Format.ZEEK_TSV, Format.ZEEK_JSON, Format.ZEEK_CSV)
_TWIN_ROWS: Final = 256


def find_in_directory(root: Path, options: ReadOptions, report: ReadReport) -> Iterator[Capture]:
    """The captures of a directory and of those below it, directory by directory in the order of their names."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        folders[:] = [name for name in folders if not name.startswith(".")]
        members = list(_open_all(Path(folder), sorted(names), options, report))
        yield from _group(root.absolute().parent, Path(folder).absolute(), members, options, report)


def siblings_of(member: Member) -> Sequence[Member]:
    """The logs beside a conn.log that can be joined to it. Only files whose names say so are looked into."""
    if member.detected.kind != "conn" or member.source.is_stream:
        return ()
    path = Path(member.source.path)
    names = sorted(
        entry.name
        for entry in path.parent.iterdir()
        if entry.is_file() and entry.name != path.name and any(kind in entry.name.lower() for kind in APPLICATION)
    )
    beside = list(_open_all(path.parent, names, ReadOptions(), ReadReport()))
    return _siblings(_prefix(member), beside, ReadReport())


def _open_all(folder: Path, names: Sequence[str], options: ReadOptions, report: ReadReport) -> Iterator[Member]:
    for name in names:
        path = folder / name
        if name.startswith(".") or not path.is_file():
            continue
        try:
            source = Source(str(path))
            detected = detect(source)
        except UnreadableFileError as error:
            _tell(error, options, report)
            continue
        if detected.format is not None:
            yield Member(source, detected)
        elif detected.sound:
            report.skipped.append(SkippedFile(str(path), detected.reason))
        else:
            _tell(UnreadableFileError(str(path), detected.reason), options, report)


def _tell(error: UnreadableFileError, options: ReadOptions, report: ReadReport) -> None:
    report.unreadable.append(error)
    if options.on_error is not None:
        options.on_error(error)


def _prefix(member: Member) -> str:
    return _OPEN if Path(member.source.path).name.startswith(_OPEN) else ""


def _group(
    base: Path, folder: Path, members: Sequence[Member], options: ReadOptions, report: ReadReport
) -> Iterator[Capture]:
    """The conn logs of a folder as one capture, those of open connections as another, other files one by one."""
    name = str(folder.relative_to(base))
    taken: set[str] = set()
    for prefix in ("", _OPEN):
        logs = [member for member in members if member.detected.format in _ZEEK and _prefix(member) == prefix]
        conns = _without_twins([member for member in logs if member.detected.kind == "conn"], report)
        if not conns:
            continue
        siblings = _siblings(prefix, logs, report) if options.join_siblings else ()
        taken.update(member.source.path for member in logs)
        capture = Capture(
            f"{name}/{prefix}conn.log" if prefix else name, _format(conns[0]), conns, siblings, options, explicit=False
        )
        if prefix:
            capture.report.note(f"{capture.name}: connections that were still open, as far as they went")
        if not options.join_siblings:
            _skip(report, [member for member in logs if member.detected.kind != "conn"], "not joined, as asked")
        yield capture
    for member in members:
        if member.source.path not in taken:
            single = f"{name}/{Path(member.source.path).name}"
            yield Capture(single, _format(member), (member,), (), options, explicit=False)


def _format(member: Member) -> Format:
    return member.detected.format or Format.ZEEK_TSV


def _siblings(prefix: str, logs: Sequence[Member], report: ReadReport) -> Sequence[Member]:
    """dns, http, ssl and ssh logs, without CSV copies of those that are there in Zeek's own notation."""
    siblings = [
        member
        for member in logs
        if member.detected.format in _ZEEK and member.detected.kind in APPLICATION and _prefix(member) == prefix
    ]
    own = {member.detected.kind for member in siblings if member.detected.format is not Format.ZEEK_CSV}
    copies = [m for m in siblings if m.detected.format is Format.ZEEK_CSV and m.detected.kind in own]
    _skip(report, copies, "a copy of the log beside it")
    return [member for member in siblings if member not in copies]


def _skip(report: ReadReport, members: Sequence[Member], reason: str) -> None:
    report.skipped.extend(SkippedFile(member.source.path, reason) for member in members)


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What the first flows of a conn log say."""

    member: Member
    uids: frozenset[str]
    labelled: bool


def _without_twins(conns: Sequence[Member], report: ReadReport) -> list[Member]:
    """The conn logs without those that hold the flows of another: its copy without labels, or in another notation.

    Twins are known by uids that their beginnings share. The labelled one is kept, else Zeek's own notation before JSON
    before CSV.
    """
    if len(conns) < 2:
        return list(conns)
    order = {format_: rank for rank, format_ in enumerate(_ZEEK)}
    beginnings = sorted(
        (_beginning(member) for member in conns),
        key=lambda b: (not b.labelled, order[_format(b.member)], b.member.source.path),
    )
    kept: list[_Beginning] = []
    for beginning in beginnings:
        twin = next((other for other in kept if other.uids & beginning.uids), None)
        if twin is None:
            kept.append(beginning)
        else:
            name = Path(twin.member.source.path).name
            _skip(report, [beginning.member], f"the flows of {name} once more" + (", without labels" * twin.labelled))
    return sorted((beginning.member for beginning in kept), key=lambda member: member.source.path)


def _beginning(member: Member) -> _Beginning:
    head = Source(member.source.path, io.BytesIO(member.source.head()))
    log = FileLog(member.source.path)
    try:
        batch = next(iter(reader_of(_format(member)).read(head, member.detected, log, _TWIN_ROWS)), None)
    except FlowDataError:
        batch = None
    if batch is None:
        return _Beginning(member, frozenset(), labelled=False)
    uids = frozenset(uid for uid in batch.texts("flow_id").values if not uid.startswith(MADE_UP_ID))
    return _Beginning(member, uids, labelled="label" in batch.text)

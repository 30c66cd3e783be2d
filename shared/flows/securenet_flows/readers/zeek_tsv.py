"""Zeek's own notation: tab-separated fields under a header of `#` lines, which may come again with other fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pyarrow as pa

from securenet_flows.batch import FlowBatch
from securenet_flows.exceptions import UnreadableFileError
from securenet_flows.readers.arrow import compute, decoded
from securenet_flows.readers.blocks import count_lines
from securenet_flows.readers.delimited import Layout, Table, parse_lines, positions
from securenet_flows.readers.interface import Detected
from securenet_flows.readers.problems import tell
from securenet_flows.readers.sources import Source
from securenet_flows.readers.texts import decode_text
from securenet_flows.readers.zeek_logs import COUNTED, DEFAULT_CONN_FIELDS, FIRST, assemble_log, fields_of
from securenet_flows.report import FileLog

#: Some editors of logs left a tab before the first `#`.
_DIRECTIVE: Final = re.compile(rb"^[ \t]*#[^\n]*\n?", re.MULTILINE)
#: IoT-23 separates its last three fields, and their names, by three spaces.
_SPACED: Final = "   "
_MOST_FIELDS: Final = 4096


@dataclass(frozen=True, slots=True)
class Header:
    """What the `#` lines said so far."""

    separator: bytes = b"\t"
    set_separator: bytes = b","
    empty: bytes = b"(empty)"
    unset: bytes = b"-"
    path: str = ""
    fields: tuple[str, ...] = ()

    def with_line(self, line: bytes) -> Header:
        """The header after one more line of it."""
        text = line.lstrip(b" \t").rstrip(b"\r\n")
        if text.startswith(b"#separator"):
            return replace(self, separator=_unhex(text[len(b"#separator") :].strip(b" \t")) or b"\t")
        key, _, rest = text.partition(self.separator)
        match key:
            case b"#fields":
                return replace(self, fields=tuple(decode_text(name).strip() for name in rest.split(self.separator)))
            case b"#set_separator":
                return replace(self, set_separator=_unhex(rest) or b",")
            case b"#empty_field":
                return replace(self, empty=_unhex(rest))
            case b"#unset_field":
                return replace(self, unset=_unhex(rest))
            case b"#path":
                return replace(self, path=decode_text(rest).strip())
        return self


def _unhex(value: bytes) -> bytes:
    r"""Header values may be written ``\x09``."""
    return re.sub(rb"\\x([0-9a-fA-F]{2})", lambda match: bytes((int(match[1], 16),)), value)


def parse_header(head: bytes) -> Header:
    """The first header of a file, as far as `head` goes, also where a line of something else stands before it."""
    header = Header()
    for line in head.splitlines(keepends=True):
        if line.lstrip(b" \t").startswith(b"#"):
            header = header.with_line(line)
        elif header.fields:
            break
    return header


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the lines under one header are read."""

    layout: Layout
    names: dict[str, str]
    spaced: tuple[str, ...] = field(default=())


class ZeekTsvReader:
    """conn.log, or dns, http, ssl and ssh logs as flows of their own."""

    def read(self, source: Source, detected: Detected, log: FileLog, batch_rows: int) -> Iterator[FlowBatch]:
        """See :class:`securenet_flows.readers.interface.Reader`."""
        header = Header()
        plan: _Plan | None = None
        for block in source.blocks(batch_rows):
            bad: list[tuple[int, str]] = []
            bad_labels: list[tuple[int, str]] = []
            batches: list[FlowBatch] = []
            line = block.first_line
            for is_header, data in _segments(block.data):
                if is_header:
                    changed = header.with_line(data)
                    plan = plan if changed == header else None
                    header = changed
                    line += 1
                    continue
                if plan is None:
                    plan = _plan(header, detected.kind, log, line)
                lines = block.lines if data is block.data else count_lines(data)
                table = _finished(parse_lines(data, line, plan.layout, lines), plan, header)
                assembled = assemble_log(detected.kind, table.columns, table.lines, plan.names)
                line += lines
                bad += table.bad + assembled.bad_records
                bad_labels += assembled.bad_labels
                batches.append(assembled.batch)
            tell(log, block, bad, bad_labels)
            yield from (batch for batch in batches if len(batch))


def _segments(data: bytes) -> Iterator[tuple[bool, bytes]]:
    """Runs of records, and header lines one by one."""
    start = 0
    if b"#" in data:
        for match in _DIRECTIVE.finditer(data):
            if match.start() > start:
                yield False, data[start : match.start()]
            yield True, match[0]
            start = match.end()
    if start < len(data):
        yield False, data[start:] if start else data


def _plan(header: Header, kind: str, log: FileLog, line: int) -> _Plan:
    fields = header.fields
    if not fields and kind == "conn":
        fields = DEFAULT_CONN_FIELDS
        log.note("no header; read with the default fields of conn.log")
    if len(fields) > _MOST_FIELDS:
        raise UnreadableFileError(
            log.path, f"{len(fields)} fields in the header; expected at most {_MOST_FIELDS}", line
        )
    width = len(fields)
    spaced: tuple[str, ...] = ()
    if fields and _SPACED in fields[-1]:
        spaced = tuple(fields[-1].split())
    wanted = dict(positions(fields, fields_of(kind)))
    for column in ("start_time_ns", "src_addr", "dst_addr"):
        if column not in wanted:
            name = fields_of(kind)[column][0]
            raise UnreadableFileError(
                log.path, f"no field {name} in the header; expected the fields of {kind}.log", line
            )
    if kind == "conn" and "protocol" not in wanted:
        raise UnreadableFileError(log.path, "no field proto in the header; expected the fields of conn.log", line)
    names = {column: fields[position] for column, position in wanted.items()}
    if spaced:
        for column, place in positions(spaced, fields_of(kind)):
            names[column] = spaced[place]
        wanted["tail"] = width - 1
    nulls = tuple(dict.fromkeys((header.unset, header.empty)))
    return _Plan(Layout(width, wanted, header.separator, nulls=nulls), names, spaced)


def _finished(table: Table, plan: _Plan, header: Header) -> Table:
    """Vectors to their length or first member, and spaced tails to fields."""
    if COUNTED in table.columns:
        answers = decoded(table.columns.pop(COUNTED))
        commas = compute.count_substring(answers, header.set_separator.decode("latin-1"))
        table.columns["dns_answer_count"] = compute.add(commas, 1).cast(pa.int64())
    if FIRST in table.columns:
        members = decoded(table.columns[FIRST]).to_pylist()
        first = [None if text is None else text.split(header.set_separator)[0] for text in members]
        table.columns[FIRST] = pa.array(first, pa.binary())
    if plan.spaced:
        _split_tail(table, plan, header)
    return table


def _split_tail(table: Table, plan: _Plan, header: Header) -> None:
    tail = table.columns.pop("tail")
    width = len(plan.spaced)
    parts = [[] if text is None else text.split() for text in decoded(tail).to_pylist()]
    sound = np.fromiter((len(part) == width for part in parts), np.bool_, len(parts))
    for row in np.flatnonzero(~sound).tolist():
        table.bad.append((int(table.lines[row]), f"{len(parts[row])} fields at the end; expected {width}"))
    keep = np.flatnonzero(sound)
    table.columns = {name: array.take(pa.array(keep)) for name, array in table.columns.items()}
    table.lines = table.lines[keep]
    nulls = {header.unset, header.empty}
    for column, place in positions(plan.spaced, fields_of("conn")):
        values = [None if parts[row][place] in nulls else parts[row][place] for row in keep.tolist()]
        table.columns[column] = pa.array(values, pa.binary())

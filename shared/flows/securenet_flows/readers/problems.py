"""Telling the problems of a block in the order of their lines."""

from __future__ import annotations

from collections.abc import Sequence

from securenet_flows.readers.blocks import LONGEST_LINE_BYTES, Block
from securenet_flows.report import FileLog


def tell(
    log: FileLog, block: Block, bad_records: Sequence[tuple[int, str]], bad_labels: Sequence[tuple[int, str]] = ()
) -> None:
    """Reports bad records, bad labels, and the line that was too long after the block.

    Raises:
        RecordError: strict reading.
    """
    records = sorted(bad_records)
    if block.overlong:
        reason = f"a line over {LONGEST_LINE_BYTES} bytes; expected a record"
        records.append((block.first_line + block.lines, reason))
    for line, reason in records:
        log.bad_record(line, reason)
    for line, reason in bad_labels:
        log.bad_label(line, reason)

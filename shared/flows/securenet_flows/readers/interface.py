"""What a reader is. To read another format, add a file beside this one and name it in `detection.py`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from securenet_flows.batch import FlowBatch
from securenet_flows.readers.sources import Source
from securenet_flows.report import FileLog

#: Rows of a batch unless asked otherwise.
DEFAULT_BATCH_ROWS: Final = 8192


class Format(StrEnum):
    """Formats that are read, by the name that reports give them."""

    ZEEK_TSV = "zeek-tsv"
    ZEEK_JSON = "zeek-json"
    ZEEK_CSV = "zeek-csv"
    SURICATA_EVE = "suricata-eve"
    ARGUS = "argus"
    NFDUMP_CSV = "nfdump-csv"
    CICFLOWMETER = "cicflowmeter"
    UNSW_NB15 = "unsw-nb15"
    NSL_KDD = "nsl-kdd"
    PCAP = "pcap"


@dataclass(frozen=True, slots=True)
class Detected:
    """What the first bytes of a file say it is.

    Attributes:
        format: how to read it, None where it is no flow log.
        kind: the Zeek log (`conn`, `dns`, …) where it is one; for tables without a header what tells their fields; else
            empty.
        reason: why it cannot be read as flows, where it cannot.
        sound: the file is a known kind of file that holds no flows, rather than something unknown or broken.
    """

    format: Format | None
    kind: str = ""
    reason: str = ""
    sound: bool = False


class Reader(Protocol):
    """Reads one format."""

    def read(self, source: Source, detected: Detected, log: FileLog, batch_rows: int) -> Iterator[FlowBatch]:
        """Flows in the order of the file, at most `batch_rows` a batch; bad records go to the log.

        Raises:
            UnreadableFileError: the file cannot be read (further).
            RecordError: strict reading met a bad record.
        """
        ...

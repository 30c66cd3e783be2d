"""Which reader reads which format. Readers are imported when their format is met."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Final, cast

from securenet_flows.readers.interface import Format, Reader

_PLACES: Final[Mapping[Format, tuple[str, str]]] = {
    Format.ZEEK_TSV: ("zeek_tsv", "ZeekTsvReader"),
    Format.ZEEK_JSON: ("zeek_json", "ZeekJsonReader"),
    Format.ZEEK_CSV: ("zeek_csv", "ZeekCsvReader"),
    Format.SURICATA_EVE: ("suricata_eve", "SuricataEveReader"),
    Format.ARGUS: ("argus", "ArgusReader"),
    Format.NFDUMP_CSV: ("nfdump_csv", "NfdumpCsvReader"),
    Format.CICFLOWMETER: ("cicflowmeter", "CicFlowMeterReader"),
    Format.UNSW_NB15: ("unsw_nb15", "UnswNb15Reader"),
    Format.NSL_KDD: ("nsl_kdd", "NslKddReader"),
    Format.PCAP: ("pcap", "PcapReader"),
}


def reader_of(format_: Format) -> Reader:
    """A reader of the given format."""
    module, name = _PLACES[format_]
    return cast("Reader", getattr(importlib.import_module(f"securenet_flows.readers.{module}"), name)())

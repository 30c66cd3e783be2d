"""Zeek's connection states of what other tools say about a connection: TCP flags by direction, or a word.

Meanings: Zeek, base/protocols/conn. Where a source does not tell enough, the state stays absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from securenet_flows.batch import CONN_STATES
from securenet_flows.readers.protocols import TCP, UDP

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20

#: Flags by the letters of Argus and nfdump.
FLAG_LETTERS: Final[Mapping[str, int]] = {
    "F": FIN, "S": SYN, "R": RST, "P": PSH, "A": ACK, "U": URG, "E": 0x40, "C": 0x80, "W": 0x80,
}  # fmt: skip

_NUMBERS: Final = {name: number for number, name in enumerate(CONN_STATES)}

#: Argus's words, also those of UNSW-NB15 (its meter was Argus). RST does not say who reset, so it is not here.
ARGUS_WORDS: Final[Mapping[str, str]] = {
    "REQ": "S0",
    "ACC": "S1",
    "EST": "S1",
    "FIN": "SF",
    "CLO": "SF",
}


def flags_of(letters: str) -> int:
    """Flags given by letters in any order and with fillers (`.A..SF`, `SPA`); unknown letters count for nothing."""
    flags = 0
    for letter in letters.upper():
        flags |= FLAG_LETTERS.get(letter, 0)
    return flags


def state_number(name: str) -> int:
    """The number of a state by its name, 0 where it is none."""
    return _NUMBERS.get(name, 0) if name else 0


def states_of_flags(
    protocol: NDArray[np.uint8],
    orig_flags: NDArray[np.uint8],
    resp_flags: NDArray[np.uint8],
    responded: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """States of n connections of which all flags that each side ever sent are known, but not their order.

    Args:
        protocol: (n,) IANA numbers.
        orig_flags: (n,) the originator's TCP flags, all together.
        resp_flags: (n,) the responder's.
        responded: (n,) whether the responder sent any packet.

    Returns:
        (n,) numbers of :data:`securenet_flows.batch.CONN_STATES`. UDP is S0 without an answer and SF with one, anything
        other than TCP and UDP is OTH, as Zeek has it.
    """

    def sent(flags: NDArray[np.uint8], flag: int) -> NDArray[np.bool_]:
        return cast("NDArray[np.bool_]", (flags & np.uint8(flag)) != 0)

    orig_syn, resp_syn = sent(orig_flags, SYN), sent(resp_flags, SYN)
    orig_fin, resp_fin = sent(orig_flags, FIN), sent(resp_flags, FIN)
    orig_rst, resp_rst = sent(orig_flags, RST), sent(resp_flags, RST)
    established = orig_syn & resp_syn
    tcp = [
        (established & orig_fin & resp_fin, "SF"),
        (established & orig_rst, "RSTO"),
        (established & resp_rst & ~sent(orig_flags, ACK), "RSTRH"),
        (established & resp_rst, "RSTR"),
        (established & orig_fin, "S2"),
        (established & resp_fin, "S3"),
        (established, "S1"),
        (orig_syn & resp_rst, "REJ"),
        (orig_syn & ~responded & orig_rst, "RSTOS0"),
        (orig_syn & ~responded & orig_fin, "SH"),
        (orig_syn & ~responded, "S0"),
        (resp_syn & resp_fin & ~orig_syn, "SHR"),
        (resp_syn & resp_rst & ~orig_syn, "RSTRH"),
    ]
    of_tcp = _select(tcp)
    of_udp = np.where(responded, np.uint8(_NUMBERS["SF"]), np.uint8(_NUMBERS["S0"]))
    other = np.uint8(_NUMBERS["OTH"])
    return np.where(protocol == TCP, of_tcp, np.where(protocol == UDP, of_udp, other)).astype(np.uint8)


def _select(cases: list[tuple[Any, str]]) -> NDArray[np.uint8]:
    conditions = [condition for condition, _ in cases]
    numbers = [np.full(1, _NUMBERS[name], np.uint8) for _, name in cases]
    return np.select(conditions, numbers, default=np.uint8(_NUMBERS["OTH"])).astype(np.uint8)

"""Random host names: what tunnels and generated domains are made of."""

from __future__ import annotations

from typing import Final

import numpy as np

from securenet_flows.batch import Int64
from securenet_flows.simulation.table import Objects

BASE32: Final = "abcdefghijklmnopqrstuvwxyz234567"
HEXADECIMAL: Final = "0123456789abcdef"
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


def random_texts(rng: np.random.Generator, lengths: Int64, alphabet: str) -> list[str]:
    """Texts of the given lengths with digits drawn from the alphabet."""
    symbols = np.frombuffer(alphabet.encode(), dtype=np.uint8)
    drawn = symbols[rng.integers(0, len(symbols), int(lengths.sum()))].tobytes().decode()
    ends = np.cumsum(lengths).tolist()
    return [drawn[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]


def below(texts: list[str], apex: str) -> Objects:
    """Names under an apex: each text split into labels of at most 63 characters, as DNS asks for."""
    return np.array(
        [".".join([text[i : i + 63] for i in range(0, len(text), 63)] + [apex]) for text in texts], dtype=object
    )

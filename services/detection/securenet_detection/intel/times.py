"""Times as feeds write them, into seconds since the epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

#: Feeds say nothing of times before, and beyond 2106 seconds do not fit; such a time is no time.
_FIRST: Final = 1
_LAST: Final = (1 << 32) - 1

_EPOCH: Final = re.compile(r"\d{9,10}(\.\d{1,9})?\Z")


def seconds(value: Any) -> int:
    """Seconds since the epoch of ISO 8601, of an e-mail's date, or of a number; 0 where it is none of them."""
    if isinstance(value, int | float):
        return int(value) if _FIRST <= value <= _LAST else 0
    if not isinstance(value, str) or not 8 <= len(value) <= 64:
        return 0
    text = value.strip()
    if _EPOCH.match(text):
        return seconds(float(text))
    for parse in (_iso, parsedate_to_datetime):
        try:
            time = parse(text)
            stamp = time.replace(tzinfo=time.tzinfo or UTC).timestamp()
        except (ValueError, OverflowError, TypeError, IndexError):
            continue
        return int(stamp) if _FIRST <= stamp <= _LAST else 0
    return 0


def _iso(text: str) -> datetime:
    return datetime.fromisoformat(text.removesuffix(" UTC"))

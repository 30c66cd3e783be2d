"""Conversions of whole Arrow columns, of text or of numbers, to the values of a batch. They find wrong values.

Each conversion tries Arrow's own cast first. Only a column that holds a wrong value is parsed value by value, so that
the wrong ones are found and the others kept; both ways accept the same texts and give the same values.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from securenet_flows.batch import CONN_STATES, NUMERIC, Bool, Int64
from securenet_flows.readers.addresses import parse_addresses
from securenet_flows.readers.arrow import Array, buffer_of, compute, decoded, is_text
from securenet_flows.readers.protocols import protocol_number
from securenet_flows.readers.texts import decode_text

#: Seconds with nine decimals: exact nanoseconds in the low 64 bits of each value.
DECIMAL_SECONDS: Final = pa.decimal128(28, 9)
#: Text that repeats, or that may.
ENCODED: Final = pa.dictionary(pa.int32(), pa.binary())

#: The latest time that int64 nanoseconds hold, minus a day: 2262-04-10.
_LATEST_NS: Final = 9_223_286_400_000_000_000
_LONGEST_NS: Final = 4_000_000_000_000_000_000
_DECIMAL_TEXT: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_LONGEST_NUMBER: Final = 60

_LARGEST: Final[Mapping[str, int]] = {
    "src_port": 0xFFFF,
    "dst_port": 0xFFFF,
    "http_status_code": 0xFFFF,
    "dns_answer_count": 0x7FFF_FFFF,
    "ssh_auth_attempts": 0x7FFF_FFFF,
}
_FLAGS: Final[Mapping[bytes, bool]] = {b"t": True, b"true": True, b"1": True, b"f": False, b"false": False, b"0": False}
_STATES: Final[Mapping[bytes, int]] = {name.encode(): number for number, name in enumerate(CONN_STATES) if name}


class Converted(NamedTuple):
    """A converted column: values (0 where absent or wrong), which rows hold one, which rows hold a wrong one."""

    values: NDArray[Any]
    present: Bool
    wrong: Bool
    expected: str


def arrow_type(column: str) -> pa.DataType:
    """The Arrow type in which a text file's column is best read for the named column of a batch."""
    if column in {"start_time_ns", "duration_ns"}:
        return DECIMAL_SECONDS
    if column in NUMERIC and NUMERIC[column] != np.bool_ and column != "conn_state":
        return pa.int64()
    return ENCODED


def convert(name: str, array: Array) -> Converted:
    if name == "start_time_ns":
        return times_of(array)
    if name == "duration_ns":
        return _nanoseconds(array, _LONGEST_NS, "seconds, not negative", times=False)
    if name in {"src_addr", "dst_addr"}:
        return _addresses(array)
    if name == "protocol":
        return _protocols(array)
    if name == "conn_state":
        return _states(array)
    if NUMERIC[name] == np.bool_:
        return _flags(array)
    return _integers(array, _LARGEST.get(name, np.iinfo(np.int64).max))


def _mask(array: Array) -> Bool:
    """Which rows are not null."""
    if array.null_count == 0:
        return np.ones(len(array), dtype=np.bool_)
    return cast("Bool", array.is_valid().to_numpy(zero_copy_only=False))


def _filled(array: Array, dtype: type[np.generic]) -> NDArray[Any]:
    """The numbers of an array, 0 where it has none."""
    if array.null_count:
        array = array.fill_null(0)
    return cast("NDArray[Any]", array.to_numpy(zero_copy_only=False).astype(dtype, copy=False))


def _plain(array: Array) -> Array:
    """Dictionary-encoded text as plain bytes, other types as they are."""
    array = decoded(array)
    return compute.cast(array, pa.binary()) if pa.types.is_string(array.type) else array


def _nanoseconds(array: Array, largest: int, expected: str, *, times: bool) -> Converted:
    array = _plain(array)
    present = _mask(array)
    wrong = np.zeros(len(array), dtype=np.bool_)
    if pa.types.is_binary(array.type):
        try:
            array = compute.cast(compute.cast(array, pa.string()), DECIMAL_SECONDS)
        except pa.ArrowInvalid:
            array = _timestamps(array) if times else array
    if pa.types.is_decimal(array.type):
        values, wrong = _decimal_nanoseconds(array)
    elif pa.types.is_timestamp(array.type) or pa.types.is_int64(array.type):
        values = _filled(array.cast(pa.int64()), np.int64)
    elif pa.types.is_floating(array.type):
        values, wrong = _float_nanoseconds(array, present, times=times)
    else:
        values, wrong = _each(array, _time_of if times else _seconds_of)
    wrong = (wrong | (values < 0) | (values > largest)) & present
    present = present & ~wrong
    return Converted(np.where(present, values, 0), present, wrong, expected)


def _timestamps(array: Array) -> Array:
    """ISO 8601 texts as timestamps if all of them are; else the array as it was."""
    try:
        texts = compute.cast(array, pa.string())
    except pa.ArrowInvalid:
        return array
    for kind in (pa.timestamp("ns", tz="UTC"), pa.timestamp("ns")):
        try:
            return compute.cast(texts, kind)
        except pa.ArrowInvalid:
            continue
    return array


def _decimal_nanoseconds(array: Array) -> tuple[Int64, Bool]:
    halves = buffer_of(array, 1, np.int64)[2 * array.offset : 2 * (array.offset + len(array))]
    low, high = halves[0::2], halves[1::2]
    return low, (low >> 63) != high


def _float_nanoseconds(array: Array, present: Bool, *, times: bool) -> tuple[Int64, Bool]:
    """Floats of seconds. A float of today's epoch is good to a quarter of a microsecond: times round to whole ones."""
    seconds = _filled(array, np.float64)
    wrong = ~np.isfinite(seconds) | (np.abs(seconds) > _LATEST_NS / 1e9)
    seconds = np.where(wrong | ~present, 0.0, seconds)
    if times:
        return np.rint(seconds * 1e6).astype(np.int64) * 1000, wrong
    return np.rint(seconds * 1e9).astype(np.int64), wrong


def _each(array: Array, parse: Callable[[str], int | None]) -> tuple[Int64, Bool]:
    """Parses value by value; wrong where `parse` gives None."""
    values = np.zeros(len(array), dtype=np.int64)
    wrong = np.zeros(len(array), dtype=np.bool_)
    for row, raw in enumerate(array.to_pylist()):
        if raw is None:
            continue
        value = parse(decode_text(raw) if isinstance(raw, bytes) else str(raw))
        if value is None or not -(2**63) <= value < 2**63:
            wrong[row] = True
        else:
            values[row] = value
    return values, wrong


def _seconds_of(text: str) -> int | None:
    text = text.strip()
    if not _DECIMAL_TEXT.fullmatch(text) or len(text) > _LONGEST_NUMBER:
        return None
    try:
        return int(Decimal(text).scaleb(9).to_integral_value())
    except (InvalidOperation, OverflowError, ValueError):
        return None


def _time_of(text: str) -> int | None:
    seconds = _seconds_of(text)
    if seconds is not None:
        return seconds
    try:
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except OverflowError:
        return None
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1_000


def _integers(array: Array, largest: int) -> Converted:
    array = _plain(array)
    present = _mask(array)
    wrong = np.zeros(len(array), dtype=np.bool_)
    if pa.types.is_binary(array.type):
        with contextlib.suppress(pa.ArrowInvalid):
            array = compute.cast(compute.cast(array, pa.string()), pa.int64())
    if pa.types.is_integer(array.type):
        values = _filled(array, np.int64)
    elif pa.types.is_floating(array.type):
        floats = _filled(array, np.float64)
        wrong = ~(np.abs(floats) < 2.0**63) | (floats != np.rint(np.where(np.isfinite(floats), floats, 0.5)))
        values = np.where(wrong, 0, floats).astype(np.int64)
    else:
        values, wrong = _each(array, _integer_of)
    wrong = (wrong | (values < 0) | (values > largest)) & present
    present = present & ~wrong
    return Converted(np.where(present, values, 0), present, wrong, f"a whole number from 0 to {largest}")


def _integer_of(text: str) -> int | None:
    text = text.strip()
    if len(text) > _LONGEST_NUMBER or not text.isascii() or "_" in text:
        return None
    try:
        return int(text, 16) if text[:2].lower() == "0x" else int(text)
    except ValueError:
        pass
    # Some tools write every number as a float.
    nanoseconds = _seconds_of(text)
    return None if nanoseconds is None or nanoseconds % 1_000_000_000 else nanoseconds // 1_000_000_000


def _distinct(array: Array) -> tuple[Array, NDArray[np.int64], Bool]:
    """The distinct values as bytes, the index of each row into them (0 where null), which rows are not null."""
    if not pa.types.is_dictionary(array.type):
        array = (array if is_text(array) else compute.cast(array, pa.string())).dictionary_encode()
    present = _mask(array.indices)
    codes = _filled(array.indices, np.int64)
    return compute.cast(array.dictionary, pa.binary()), codes, present


def _addresses(array: Array) -> Converted:
    values, codes, present = _distinct(array)
    if len(values) == 0:
        return Converted(np.zeros((len(array), 16), np.uint8), present, present, "an IP address")
    parsed, valid = parse_addresses(values)
    wrong = present & ~valid[codes]
    return Converted(parsed[codes], present, wrong, "an IP address")


def _protocols(array: Array) -> Converted:
    if pa.types.is_integer(array.type):
        numbers = _integers(array, 255)
        return Converted(numbers.values.astype(np.uint8), numbers.present, numbers.wrong, "a protocol number up to 255")
    values, codes, present = _distinct(array)
    table = np.fromiter((protocol_number(decode_text(v)) for v in values.to_pylist()), np.uint8, len(values))
    numbers_of = np.append(table, np.uint8(0))
    return Converted(np.where(present, numbers_of[codes], 0).astype(np.uint8), present, ~present, "a protocol")


def _looked_up(array: Array, table: Mapping[bytes, int], dtype: np.dtype[Any], expected: str) -> Converted:
    values, codes, present = _distinct(array)
    known = values.to_pylist()
    numbers = np.append(np.fromiter((table.get(value, 0) for value in known), dtype, len(known)), dtype.type(0))
    right = np.append(np.fromiter((value in table for value in known), np.bool_, len(known)), np.False_)
    wrong = present & ~right[codes]
    present = present & ~wrong
    return Converted(np.where(present, numbers[codes], dtype.type(0)), present, wrong, expected)


def times_of(array: Array) -> Converted:
    """Times (n,) in nanoseconds since 1970 of a column of seconds or ISO 8601 texts."""
    return _nanoseconds(array, _LATEST_NS, "seconds since 1970 or an ISO 8601 time, not after 2262", times=True)


def protocol_numbers(array: Array) -> NDArray[np.uint8]:
    """Protocol numbers (n,) of a column of names or numbers, 0 where it has none."""
    return cast("NDArray[np.uint8]", _protocols(array).values)


def _states(array: Array) -> Converted:
    """States by name, or as numbers that a reader worked out."""
    if not pa.types.is_integer(array.type):
        return _looked_up(array, _STATES, np.dtype(np.uint8), "one of Zeek's connection states")
    present = _mask(array)
    values = _filled(array, np.uint8)
    return Converted(values, present, np.zeros(len(array), np.bool_), "the number of a state")


def _flags(array: Array) -> Converted:
    if pa.types.is_boolean(array.type):
        present = _mask(array)
        values = array.fill_null(False).to_numpy(zero_copy_only=False).astype(np.bool_)
        return Converted(values, present, np.zeros(len(array), np.bool_), "T or F")
    values, codes, present = _distinct(array)
    known = [value.lower() for value in values.to_pylist()]
    table = np.append(np.fromiter((_FLAGS.get(value, False) for value in known), np.bool_, len(known)), np.False_)
    right = np.append(np.fromiter((value in _FLAGS for value in known), np.bool_, len(known)), np.False_)
    wrong = present & ~right[codes]
    present = present & ~wrong
    return Converted(table[codes] & present, present, wrong, "T or F")

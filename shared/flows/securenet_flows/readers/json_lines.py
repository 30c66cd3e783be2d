"""Lines of JSON objects to Arrow columns: Arrow's JSON reader for a sound block, line by line where one is not."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json

from securenet_flows.batch import NUMERIC
from securenet_flows.readers.arrow import Array, compute
from securenet_flows.readers.delimited import Table

#: Columns whose values are lists of texts in JSON.
_LISTS: Final = frozenset({"dns_answers", "tls_certificate_sha256"})
_TIMES: Final = frozenset({"start_time_ns", "duration_ns"})
_LARGEST_SECONDS: Final = 1e18


def parse_json_lines(data: bytes, first_line: int, wanted: Mapping[str, Sequence[str]]) -> Table:
    """Parses whole lines.

    Args:
        data: the lines; only the last may lack its line feed.
        first_line: number of the first.
        wanted: by column, the keys that may hold it; the first that has a value counts.

    Returns:
        Of each wanted column that some line has, an array; of text and of lists the bytes.
    """
    if not data.endswith(b"\n"):
        data += b"\n"
    for time_type in (pa.float64(), pa.string()):
        table = _parse_with_arrow(data, first_line, wanted, time_type)
        if table is not None:
            return table
    return _parse_line_by_line(data, first_line, wanted)


def _arrow_type(column: str, time_type: pa.DataType) -> pa.DataType:
    if column == "start_time_ns":
        return time_type
    if column == "duration_ns":
        return pa.float64()
    if column in _LISTS:
        return pa.list_(pa.string())
    if column in NUMERIC and column != "conn_state":
        return pa.bool_() if NUMERIC[column] == np.bool_ else pa.int64()
    return pa.string()


def _parse_with_arrow(
    data: bytes, first_line: int, wanted: Mapping[str, Sequence[str]], time_type: pa.DataType
) -> Table | None:
    """None where a line is not sound, or where Arrow might see the lines otherwise than we do."""
    lines = data.count(b"\n")
    if not data.startswith(b"{") or data.count(b"\n{") != lines - 1:
        return None
    fields = [(key, _arrow_type(column, time_type)) for column, keys in wanted.items() for key in keys]
    try:
        table = arrow_json.read_json(
            io.BytesIO(data),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore"
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    if table.num_rows != lines:
        return None
    columns: dict[str, Array] = {}
    for column, keys in wanted.items():
        arrays = [table.column(key).combine_chunks() for key in keys]
        arrays = [array for array in arrays if array.null_count < len(array)]
        if arrays:
            array = arrays[0] if len(arrays) == 1 else compute.coalesce(*arrays)
            columns[column] = _texts_of_lists(column, array) if column in _LISTS else _as_bytes(array)
    return Table(columns, np.arange(first_line, first_line + lines, dtype=np.int64))


def _as_bytes(array: Array) -> Array:
    """Arrow does not look whether the strings of a JSON file are UTF-8."""
    return compute.cast(array, pa.binary()) if pa.types.is_string(array.type) else array


def _texts_of_lists(column: str, array: Array) -> Array:
    lengths = compute.list_value_length(array)
    if column == "dns_answers":
        return compute.if_else(compute.greater(lengths, 0), lengths, None).cast(pa.int64())
    members = compute.cast(array, pa.list_(pa.binary())).to_pylist()
    return pa.array([member[0] if member else None for member in members], pa.binary())


def _parse_line_by_line(data: bytes, first_line: int, wanted: Mapping[str, Sequence[str]]) -> Table:
    values: dict[str, list[bytes | None]] = {column: [] for column in wanted}
    lines: list[int] = []
    bad: list[tuple[int, str]] = []
    for number, text in enumerate(data.removesuffix(b"\n").split(b"\n"), first_line):
        record = parse_object(text)
        if isinstance(record, str):
            bad.append((number, record))
            continue
        lines.append(number)
        for column, keys in wanted.items():
            value = next((record[key] for key in keys if record.get(key) is not None), None)
            values[column].append(_text(column, value))
    columns = {
        column: pa.array(texts, pa.binary())
        for column, texts in values.items()
        if any(text is not None for text in texts)
    }
    return Table(columns, np.asarray(lines, dtype=np.int64), bad)


def parse_object(line: bytes) -> dict[str, Any] | str:
    """The object on a line, or what is wrong. Bytes that are not UTF-8 come as surrogate escapes."""
    text = line.strip().decode("utf-8", "surrogateescape")
    if not text:
        return "an empty line; expected a JSON object"
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        return f"not JSON: {error.msg} at column {error.colno}"
    except RecursionError:
        return "not read: JSON nested too deep"
    except ValueError:
        return "not read: a number of too many digits"
    return record if isinstance(record, dict) else f"JSON {type(record).__name__}; expected an object"


def encode(text: str) -> bytes:
    """The bytes of a text from JSON: those that came, with a mark for halves of surrogate pairs."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _text(column: str, value: object) -> bytes | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return encode(value)
    if column in _LISTS and isinstance(value, list):
        return _member(column, value)
    if column in _TIMES and isinstance(value, (int, float)) and not isinstance(value, bool):
        return seconds_text(value, times=column == "start_time_ns")
    if isinstance(value, (bool, int, float)):
        return str(value).encode()
    return encode(json.dumps(value, ensure_ascii=False))


def _member(column: str, members: Sequence[object]) -> bytes | None:
    if column == "dns_answers":
        return str(len(members)).encode() if members else None
    return encode(str(members[0])) if members and members[0] is not None else None


def seconds_text(value: float, *, times: bool) -> bytes:
    """Seconds with as many decimals as a float of them is good for, rounded as whole columns of floats are."""
    try:
        number = float(value)
    except OverflowError:
        return b"inf"
    if not abs(number) < _LARGEST_SECONDS:
        return str(number).encode()
    nanoseconds = int(np.rint(number * 1e6)) * 1000 if times else int(np.rint(number * 1e9))
    return str(Decimal(nanoseconds).scaleb(-9)).encode()

"""From protobuf messages to frozen dataclasses whose fields bear the contract's names.

The dataclass says what each field becomes: an absent optional scalar or message is None, a timestamp an aware
datetime, a duration seconds, an enum its name in lower case without the prefix (or a member of an IntEnum), a repeated
field a tuple, a map a dict.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

Record = TypeVar("Record")
Reading = Callable[[Any], Any]
Plan = list[tuple[str, Reading]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: How each record is read: what its type hints say, looked at once. A record belongs to one message.
_PLANS: dict[type[Any], Plan] = {}


def read(record: type[Record], message: Message) -> Record:
    """The message as a `record`.

    Raises:
        TypeError: the dataclass has a field that the message has not: a mistake of this library.
    """
    plan = _PLANS.get(record) or _plan(record, message)
    return record(**{name: reading(message) for name, reading in plan})


def to_datetime(stamp: Timestamp) -> datetime:
    """An aware datetime in UTC, good to the microsecond."""
    return _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)


def to_timestamp(time: datetime) -> Timestamp:
    """The message of an aware datetime."""
    stamp = Timestamp()
    stamp.FromDatetime(time.astimezone(UTC))
    return stamp


def to_seconds(duration: Duration) -> float:
    """Seconds."""
    return float(duration.seconds + duration.nanos / 1e9)


def to_duration(seconds: float) -> Duration:
    """The message of a number of seconds."""
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def enum_name(kind: Any, number: int) -> str:
    """The name of an enum's value without its prefix, in lower case with hyphens; the number where it has no name."""
    value = kind.values_by_number.get(number)
    if value is None:
        return str(number)
    zero = kind.values_by_number[0].name
    return str(value.name).removeprefix(zero.removesuffix("UNSPECIFIED")).lower().replace("_", "-")


def enum_number(kind: Any, name: str) -> int:
    """The number of a name as :func:`enum_name` gives it.

    Raises:
        ValueError: there is no such name; the message lists those that there are.
    """
    names: dict[str, int] = {enum_name(kind, number): number for number in kind.values_by_number}
    if name not in names:
        accepted = ", ".join(known for known, number in names.items() if number)
        raise ValueError(f"{name!r}; expected one of {accepted}")
    return names[name]


def _plan(record: type[Any], message: Message) -> Plan:
    hints = get_type_hints(record)
    known: Mapping[str, Any] = message.DESCRIPTOR.fields_by_name
    plan: Plan = []
    for field in dataclasses.fields(record):
        if field.name not in known:
            raise TypeError(f"{record.__name__}.{field.name} is no field of {message.DESCRIPTOR.full_name}")
        plan.append((field.name, _reading(field.name, known[field.name], hints[field.name])))
    _PLANS[record] = plan
    return plan


def _reading(name: str, field: Any, hint: Any) -> Reading:
    kind, optional = _without_none(hint)
    if get_origin(kind) is dict:
        return lambda message: dict(getattr(message, name))
    if get_origin(kind) is tuple:
        one = _value(field, get_args(kind)[0])
        return lambda message: tuple(one(item) for item in getattr(message, name))
    value = _value(field, kind)
    if optional and field.has_presence:
        return lambda message: value(getattr(message, name)) if message.HasField(name) else None
    return lambda message: value(getattr(message, name))


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) is types.UnionType:
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        return kinds[0], len(kinds) < len(get_args(hint))
    return hint, False


def _value(field: Any, kind: Any) -> Reading:
    if field.message_type is not None:
        if field.message_type.full_name == "google.protobuf.Timestamp":
            return to_datetime
        if field.message_type.full_name == "google.protobuf.Duration":
            return to_seconds
        return lambda message: read(kind, message)
    if field.enum_type is not None:
        described = field.enum_type
        if issubclass(kind, IntEnum):
            member: Reading = kind
            return member
        return lambda number: enum_name(described, number)
    return _same


def _same(value: Any) -> Any:
    return value


def plain(value: Any) -> Any:
    """A record as plain values for JSON: datetimes in ISO 8601, enums by name, mappings and lists, None for NaN."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, IntEnum):
        return value.name.lower()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value

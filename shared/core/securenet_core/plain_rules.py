"""Tells messages that keep their rules without asking the rules' engine, which reads each field by itself.

Most rules are bounds, and most requests keep them. What is understood here is compiled once a message type into a few
comparisons; a message that does not pass them, or whose type has any rule of another kind, is the engine's to judge. So
this may only ever say yes where the engine would find no violation.
"""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

#: Whether a message certainly keeps its rules.
Accepts = Callable[[Any], bool]

#: Largest duration of the contract's language, seconds (google/protobuf/duration.proto).
_LONGEST_DURATION: Final = 315_576_000_000
#: An IPv6 address with an IPv4 address at its end; what is remembered below is bounded by it.
_LONGEST_ADDRESS: Final = 45
_NANOS: Final = 1_000_000_000
_NUMBERS: Final = frozenset({"uint32", "uint64"})


class _UnknownRuleError(Exception):
    """Some rule is not a plain one."""


def accepting(descriptor: Any) -> Accepts | None:
    """Whether messages of a type certainly keep their rules, as a function; None where their rules are not plain.

    Args:
        descriptor: of the type; protobuf has two classes of them.
    """
    try:
        return _all(list(_checks(descriptor, ())))
    except _UnknownRuleError:
        return None


def _all(checks: list[Accepts]) -> Accepts:
    def accepts(message: Any) -> bool:
        for check in checks:  # noqa: SIM110 - a generator takes twice as long
            if not check(message):
                return False
        return True

    return accepts


def _checks(descriptor: Any, within: tuple[str, ...]) -> Iterator[Accepts]:
    _refuse(descriptor.full_name in within)
    _refuse(_options(descriptor, "message").ByteSize())
    for oneof in descriptor.oneofs:
        _refuse(_options(oneof, "oneof").ByteSize())
    within = (*within, descriptor.full_name)
    most: dict[int, list[str]] = defaultdict(list)
    longest: dict[int, list[str]] = defaultdict(list)
    for field in descriptor.fields:
        required, kind, given = _plain(field)
        if field.message_type is not None:
            inner = list(_checks(field.message_type, within))
            if field.is_repeated:
                _refuse(required or kind or inner)
            else:
                yield from _message(field, inner, kind, given, required=required)
            continue
        _refuse(required or (kind and field.is_repeated))
        if kind in _NUMBERS and given.keys() == {"lte"}:
            most[given["lte"]].append(field.name)
        elif kind == "string" and given.keys() == {"max_len"}:
            longest[given["max_len"]].append(field.name)
        elif kind == "string" and given == {"ip": True}:
            yield _address(field.name)
        elif kind == "enum":
            yield _enum(field, given)
        else:
            _refuse(kind)
    yield from (_at_most(names, bound) for bound, names in most.items())
    yield from (_no_longer(names, bound) for bound, names in longest.items())


def _refuse(rules: object) -> None:
    if rules:
        raise _UnknownRuleError


def _plain(field: FieldDescriptor) -> tuple[bool, str, dict[str, Any]]:
    """Whether a field must be there, the kind of its rules, and what they say."""
    rules: Any = _options(field, "field")
    kind, given = "", {}
    for rule, value in rules.ListFields():
        if rule.containing_oneof is not None and rule.containing_oneof.name == "type":
            kind = rule.name
            given = {one.full_name if one.is_extension else one.name: said for one, said in value.ListFields()}
        else:
            _refuse(rule.name != "required")
    return rules.required, kind, given


def _options(described: Any, kind: str) -> Any:
    """Rules of a message, a oneof or a field. Their types come with the contract that uses them."""
    file = described.file if hasattr(described, "file") else described.containing_type.file
    try:
        extension = file.pool.FindExtensionByName(f"buf.validate.{kind}")
    except KeyError:
        raise _UnknownRuleError from None
    return described.GetOptions().Extensions[extension]


def _message(
    field: FieldDescriptor, inner: list[Accepts], kind: str, given: dict[str, Any], *, required: bool
) -> Iterator[Accepts]:
    if kind == "duration" and given.keys() == {"gte"} and not given["gte"].ByteSize():
        inner = [*inner, _is_positive_duration]
    else:
        _refuse(kind)
    if not inner and not required:
        return
    name, accepts = field.name, _all(inner)

    def check(message: Any) -> bool:
        return accepts(getattr(message, name)) if message.HasField(name) else not required

    yield check


def _values(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    # Of one name attrgetter gives the value itself.
    return attrgetter(*names, *names[:1])


def _at_most(names: list[str], bound: int) -> Accepts:
    values = _values(names)
    return lambda message: max(values(message)) <= bound


def _no_longer(names: list[str], bound: int) -> Accepts:
    values = _values(names)
    return lambda message: max(map(len, values(message))) <= bound


def _enum(field: FieldDescriptor, given: dict[str, Any]) -> Accepts:
    name, enum = field.name, field.enum_type
    _refuse(given.keys() - {"defined_only", "not_in"})
    refused = frozenset(given.get("not_in", ()))
    if enum is None or not given.get("defined_only"):
        return lambda message: getattr(message, name) not in refused
    accepted = frozenset(value.number for value in enum.values) - refused
    return lambda message: getattr(message, name) in accepted


def _address(name: str) -> Accepts:
    def check(message: Any) -> bool:
        text = getattr(message, name)
        return len(text) <= _LONGEST_ADDRESS and _is_address(text)

    return check


@lru_cache(1 << 14)
def _is_address(text: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def _is_positive_duration(duration: Any) -> bool:
    seconds, nanos = int(duration.seconds), int(duration.nanos)
    return 0 <= seconds <= _LONGEST_DURATION and 0 <= nanos < _NANOS

"""Hypothesis strategies for any message of the contracts, made from its descriptor and its field rules.

Most values keep the rules, so that calls get past validation; some do not, so that validation has work.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from buf.validate import validate_pb2

_F = FieldDescriptor
_UNSIGNED = {_F.TYPE_UINT32: 32, _F.TYPE_FIXED32: 32, _F.TYPE_UINT64: 64, _F.TYPE_FIXED64: 64}
_SIGNED = {
    _F.TYPE_INT32: 32, _F.TYPE_SINT32: 32, _F.TYPE_SFIXED32: 32, _F.TYPE_INT64: 64, _F.TYPE_SINT64: 64,
    _F.TYPE_SFIXED64: 64,
}  # fmt: skip
_RULE_NAMES = {
    _F.TYPE_UINT32: "uint32", _F.TYPE_UINT64: "uint64", _F.TYPE_INT32: "int32", _F.TYPE_INT64: "int64",
    _F.TYPE_SFIXED64: "sfixed64",
}  # fmt: skip

#: Texts that mean something to one field or another.
_WORDS = st.sampled_from(
    [
        "127.0.0.1", "::1", "::ffff:127.0.0.1", "192.0.2.1", "127.0.0.0/30", "10.0.0.0/8", "0.0.0.0/0",
        "127.0.0.1-127.0.0.3", "localhost", "1", "22,80", "1-65535", "0", "65536", "pkg:pypi/django@3.2.0",
        "pkg:pypi/a", "pkg:", "models/flows", "models/flows/versions/1", "scopes/loopback", "champion",
        "horizontal-scan", "/nowhere/at/all", "file:///nowhere", "../../etc/passwd", "https://localhost:1/feed.zip",
        "max_iter", "100", "{}", "\x00", "\u202e", "\U0001f4a5",
    ]
)  # fmt: skip


def messages(descriptor: Descriptor, *, depth: int = 4) -> st.SearchStrategy[Message]:
    """Any message of the type: each field set or not, mostly within its rules.

    Args:
        descriptor: of the message.
        depth: how deep messages nest at most.
    """
    cls = GetMessageClass(descriptor)
    fields = {
        field.name: _field(field, depth) for field in descriptor.fields if depth > 0 or field.type != _F.TYPE_MESSAGE
    }
    required = [name for name in fields if _rules(descriptor.fields_by_name[name]).required]

    @st.composite
    def build(draw: st.DrawFn) -> Message:
        message = cls()
        for name, strategy in fields.items():
            usually = name in required or descriptor.fields_by_name[name].type == _F.TYPE_STRING
            if draw(st.integers(0, 9)) < (9 if usually else 5):
                _assign(message, descriptor.fields_by_name[name], draw(strategy))
        return message

    return build()


def _assign(message: Message, field: FieldDescriptor, value: Any) -> None:
    if _is_map(field):
        target = getattr(message, field.name)
        for key, item in value.items():
            if isinstance(item, Message):
                target[key].CopyFrom(item)
            else:
                target[key] = item
    elif field.is_repeated:
        getattr(message, field.name).extend(value)
    elif field.type == _F.TYPE_MESSAGE:
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)


def _field(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    rules = _rules(field)
    if _is_map(field):
        key, value = (_message_type(field).fields_by_name[name] for name in ("key", "value"))
        return st.dictionaries(_single(key, rules.map.keys, depth), _single(value, rules.map.values, depth), max_size=3)
    if field.is_repeated:
        items = _single(field, rules.repeated.items, depth)
        return st.lists(items, min_size=min(rules.repeated.min_items, 8), max_size=8)
    return _single(field, rules, depth)


def _single(field: FieldDescriptor, rules: Any, depth: int) -> st.SearchStrategy[Any]:
    if field.type == _F.TYPE_MESSAGE:
        return _message(field, depth)
    if field.type == _F.TYPE_STRING:
        return _string(rules.string)
    if field.type == _F.TYPE_BYTES:
        return st.binary(max_size=64) | st.binary(min_size=128, max_size=128)
    if field.type == _F.TYPE_BOOL:
        return st.booleans()
    if field.type == _F.TYPE_ENUM:
        assert field.enum_type is not None
        return st.sampled_from([value.number for value in field.enum_type.values]) | st.integers(-1, 300)
    if field.type in (_F.TYPE_DOUBLE, _F.TYPE_FLOAT):
        return st.floats(0, 1) | st.floats(width=32)
    return _integer(field, rules)


def _message(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Message]:
    described = _message_type(field)
    name, cls = described.full_name, GetMessageClass(described)
    if name == "google.protobuf.Timestamp":
        return st.builds(
            cls, seconds=st.integers(0, 2**32) | st.integers(-(2**62), 2**62), nanos=st.integers(0, 999_999_999)
        )
    if name == "google.protobuf.Duration":
        return st.builds(cls, seconds=st.integers(0, 100) | st.integers(-(2**40), 2**40), nanos=st.integers(0, 10**8))
    return messages(described, depth=depth - 1)


def _string(rules: Any) -> st.SearchStrategy[str]:
    wild = st.text(max_size=40) | _WORDS
    if rules.pattern:
        return st.one_of([st.from_regex(rules.pattern, fullmatch=True)] * 4 + [wild])
    if rules.ip:
        return st.one_of([st.ip_addresses().map(str)] * 4 + [wild])
    limit = min(rules.max_len or 40, 40)
    return _WORDS | st.text(max_size=limit, min_size=min(rules.min_len, limit)) | wild


def _integer(field: FieldDescriptor, rules: Any) -> st.SearchStrategy[int]:
    if field.type in _UNSIGNED:
        lowest, highest = 0, 2 ** _UNSIGNED[field.type] - 1
    else:
        bits = _SIGNED[field.type]
        lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    wild = st.integers(lowest, highest)
    bounds = getattr(rules, _RULE_NAMES.get(field.type, ""), None)
    small = st.integers(0, 70_000).filter(lambda value: value <= highest)
    if bounds is not None and bounds.lte:
        return st.integers(max(lowest, bounds.gte), min(highest, bounds.lte)) | small | wild
    return small | small | wild


def _rules(field: FieldDescriptor) -> Any:
    options: Any = field.GetOptions()
    return options.Extensions[validate_pb2.field]


def _message_type(field: FieldDescriptor) -> Descriptor:
    assert field.message_type is not None, f"{field.full_name} is no message"
    return field.message_type


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated and field.message_type is not None and field.message_type.GetOptions().map_entry)

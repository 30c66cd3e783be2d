"""The field rules that stand in the contracts, checked on every request."""

from __future__ import annotations

from typing import Any

import protovalidate
from google.protobuf.message import Message

from securenet_core.exceptions import FieldViolation, InvalidArgumentError
from securenet_core.plain_rules import Accepts, accepting

_VALUE_LIMIT = 64


class RequestValidator:
    """Checks messages against the protovalidate rules of their descriptors. One instance compiles each rule once."""

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()
        self._accepting: dict[type[Message], Accepts | None] = {}

    def check(self, message: Message) -> None:
        """Lets a message pass that keeps its rules.

        Raises:
            InvalidArgumentError: names every field that does not, with what came and what is accepted.
        """
        kind = type(message)
        if kind not in self._accepting:
            self._accepting[kind] = accepting(message.DESCRIPTOR)
        accepts = self._accepting[kind]
        if accepts is not None and accepts(message):
            return
        violations = self._validator.collect_violations(message)
        if not violations:
            return
        fields = [FieldViolation(_path(v.proto.field), _description(v)) for v in violations]
        more = f" (and {len(fields) - 3} more)" if len(fields) > 3 else ""
        summary = "; ".join(f"{field.field}: {field.description}" for field in fields[:3])
        raise InvalidArgumentError(summary + more, reason="FIELD_INVALID", fields=fields)


def _path(path: Any) -> str:
    """`flow.src_ip`, `targets[2]`, `params["max_iter"]`."""
    text = ""
    for element in path.elements if path else ():
        text += f".{element.field_name}" if text else str(element.field_name)
        subscript = element.subscript
        if subscript is not None:
            value = subscript.value
            text += f'["{value}"]' if isinstance(value, str) else f"[{value}]"
    return text or "request"


def _description(violation: protovalidate.Violation) -> str:
    message = str(violation.proto.message)
    value = violation.field_value
    if isinstance(value, str | bytes):
        shown = repr(value[:_VALUE_LIMIT]) + ("…" if len(value) > _VALUE_LIMIT else "")
        return f"got {shown}; {message}"
    if isinstance(value, int | float):
        return f"got {value}; {message}"
    return message

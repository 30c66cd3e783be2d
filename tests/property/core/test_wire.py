"""What goes over the wire comes back: errors and page tokens, for any content."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securenet_core.exceptions import (
    BY_CODE,
    FieldViolation,
    InvalidArgumentError,
    PreconditionViolation,
    SecurenetError,
)
from securenet_core.pagination import decode_page_token, encode_page_token
from securenet_core.status import clip, from_status, to_status

pytestmark = pytest.mark.unit

short = st.text(max_size=40)
scalars = st.none() | st.text(max_size=40) | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False)


@given(
    cls=st.sampled_from(list(BY_CODE.values())),
    message=short,
    reason=st.from_regex(r"[A-Z_]{1,30}", fullmatch=True),
    metadata=st.dictionaries(short, short, max_size=4),
    retry_after=st.none() | st.integers(0, 10**6).map(lambda milliseconds: milliseconds / 1000),
    fields=st.lists(st.builds(FieldViolation, short, short), max_size=5),
    preconditions=st.lists(st.builds(PreconditionViolation, short, short, short), max_size=5),
)
def test_an_error_comes_back_as_it_went(cls: type[SecurenetError], message: str, **parts: Any) -> None:
    back = from_status(to_status(cls(message, **parts)))
    assert type(back) is cls
    assert (back.message, back.reason, back.metadata) == (message, parts["reason"], parts["metadata"])
    retry = parts["retry_after"]
    assert back.retry_after == (None if retry is None else pytest.approx(retry, abs=1e-6))
    assert back.fields == tuple(parts["fields"])
    assert back.preconditions == tuple(parts["preconditions"])


@given(st.lists(st.builds(FieldViolation, st.text(max_size=5000), st.text(max_size=5000)), max_size=50), st.text())
def test_an_error_always_fits_into_trailers(fields: list[FieldViolation], message: str) -> None:
    status = to_status(InvalidArgumentError(message * 100, fields=fields))
    assert status.ByteSize() <= 4096
    assert len(clip(message * 100)) <= 512


def test_an_unknown_code_is_still_an_error() -> None:
    status = to_status(InvalidArgumentError("x"))
    status.code = 99
    assert type(from_status(status)) is SecurenetError


@given(position=st.lists(scalars, min_size=1, max_size=3), query=st.lists(scalars, max_size=3))
def test_a_page_token_comes_back(
    position: list[str | int | float | None], query: list[str | int | float | None]
) -> None:
    token = encode_page_token(position, query)
    assert decode_page_token(token, query, length=len(position)) == position


@given(position=st.lists(scalars, min_size=1, max_size=3), query=st.lists(scalars, max_size=3))
def test_a_page_token_of_another_request_is_refused(
    position: list[str | int | float | None], query: list[str | int | float | None]
) -> None:
    token = encode_page_token(position, query)
    with pytest.raises(InvalidArgumentError, match="page_token"):
        decode_page_token(token, [*query, "more"], length=len(position))


@given(st.text(max_size=600))
def test_any_other_text_is_refused_as_a_page_token(token: str) -> None:
    if token:
        with pytest.raises(InvalidArgumentError, match="page_token"):
            decode_page_token(token)
    else:
        assert decode_page_token(token) is None

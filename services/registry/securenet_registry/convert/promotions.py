"""Moves of aliases."""

from __future__ import annotations

from collections.abc import Sequence

from securenet.registry.v1 import model_pb2, registry_pb2
from securenet_core.pagination import decode_page_token, encode_page_token, page_size
from securenet_registry.convert.parts import number, text, timestamp
from securenet_registry.model import (
    Promotion,
    PromotionState,
)
from securenet_registry.moves import Move

_PROMOTION_STATES = {
    PromotionState.PENDING: model_pb2.PROMOTION_STATE_PENDING,
    PromotionState.COMMITTED: model_pb2.PROMOTION_STATE_COMMITTED,
    PromotionState.REJECTED: model_pb2.PROMOTION_STATE_REJECTED,
}

_PROMOTION_STATES_BACK = {number: state for state, number in _PROMOTION_STATES.items()}


def promote_move(request: registry_pb2.PromoteModelVersionRequest) -> Move:
    """What is asked of an alias."""
    expected = request.expected_generation if request.HasField("expected_generation") else None
    return Move(request.alias or "champion", expected, request.request_id, request.reason)


def rollback_move(request: registry_pb2.RollbackModelRequest) -> Move:
    """What is asked of an alias."""
    expected = request.expected_generation if request.HasField("expected_generation") else None
    return Move(request.alias or "champion", expected, request.request_id, request.reason)


def promotion_message(promotion: Promotion) -> model_pb2.Promotion:
    """A move."""
    return model_pb2.Promotion(
        name=promotion.resource if promotion.id else "",
        alias=promotion.alias,
        from_version=promotion.from_version,
        to_version=promotion.to_version,
        state=_PROMOTION_STATES[promotion.state],
        generation=promotion.generation,
        gates=[
            model_pb2.Gate(name=gate.name, passed=gate.passed, measured=gate.measured, required=gate.required)
            for gate in promotion.gates
        ],
        requested_by=promotion.requested_by,
        decided_by=promotion.decided_by,
        reason=promotion.reason,
        rollback=promotion.rollback,
        create_time=timestamp(promotion.create_ns),
        decide_time=timestamp(promotion.decide_ns),
    )


def promotions_page(request: registry_pb2.ListPromotionsRequest) -> tuple[int, str, int, str]:
    """Time and id before which the page begins (0: the latest), how many moves to read, and in which state."""
    position = decode_page_token(request.page_token, [request.parent, request.state], length=2)
    state = _PROMOTION_STATES_BACK.get(request.state)
    time_ns, promotion = (number(position[0]), text(position[1])) if position else (0, "")
    return time_ns, promotion, page_size(request.page_size) + 1, state.value if state else ""


def promotions_response(
    promotions: Sequence[Promotion], limit: int, request: registry_pb2.ListPromotionsRequest
) -> registry_pb2.ListPromotionsResponse:
    """A page of moves."""
    page = promotions[: limit - 1]
    more = len(promotions) == limit
    token = encode_page_token([page[-1].create_ns, page[-1].id], [request.parent, request.state]) if more else ""
    messages = [promotion_message(promotion) for promotion in page]
    return registry_pb2.ListPromotionsResponse(promotions=messages, next_page_token=token)

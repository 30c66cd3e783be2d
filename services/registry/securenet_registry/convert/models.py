"""Models with their aliases."""

from __future__ import annotations

from collections.abc import Sequence

from securenet.registry.v1 import model_pb2, registry_pb2
from securenet_core.pagination import decode_page_token, encode_page_token, page_size
from securenet_registry.convert.parts import text, timestamp
from securenet_registry.model import (
    Alias,
    Model,
)


def model_message(model: Model) -> model_pb2.Model:
    """A model."""
    return model_pb2.Model(
        name=model.resource,
        description=model.description,
        aliases=[alias_message(alias) for alias in model.aliases],
        latest_version=model.latest_version,
        version_count=model.version_count,
        create_time=timestamp(model.create_ns),
        update_time=timestamp(model.update_ns),
        tags=model.tags,
    )


def models_page(request: registry_pb2.ListModelsRequest) -> tuple[str, int]:
    """The name after which the page begins, and how many models to read: one more than it has."""
    position = decode_page_token(request.page_token)
    return (text(position[0]) if position else ""), page_size(request.page_size) + 1


def models_response(models: Sequence[Model], limit: int) -> registry_pb2.ListModelsResponse:
    """A page of models."""
    page = models[: limit - 1]
    token = encode_page_token([page[-1].name]) if len(models) == limit else ""
    return registry_pb2.ListModelsResponse(models=[model_message(model) for model in page], next_page_token=token)


def alias_message(alias: Alias) -> model_pb2.ModelAlias:
    """An alias."""
    return model_pb2.ModelAlias(
        alias=alias.alias,
        version=alias.version,
        generation=alias.generation,
        update_time=timestamp(alias.update_ns),
        updated_by=alias.updated_by,
        previous_version=alias.previous_version,
    )

"""Requests of the model registry from plain values, the same for both clients."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from securenet.registry.v1 import model_pb2, training_pb2
from securenet.registry.v1 import registry_pb2 as pb
from securenet_client.messages import enum_number, to_duration
from securenet_core.exceptions import InvalidArgumentError

#: Bytes of one chunk of an upload.
CHUNK: Final = 1 << 20

_ENUMS: Final = {
    "estimator": training_pb2.DESCRIPTOR.enum_types_by_name["Estimator"],
    "split": training_pb2.DESCRIPTOR.enum_types_by_name["SplitMethod"],
    "state": model_pb2.DESCRIPTOR.enum_types_by_name["PromotionState"],
    "format": model_pb2.DESCRIPTOR.enum_types_by_name["ArtifactFormat"],
    "flavor": model_pb2.DESCRIPTOR.enum_types_by_name["Flavor"],
}


def model_name(given: str) -> str:
    """models/{model} of a model's own name; a resource name stays as it is."""
    return given if given.startswith("models/") else f"models/{given}"


def version_name(model: str, version: int | str) -> str:
    """models/{model}/versions/{version}; the version is a number, an alias or sha256:digest."""
    return f"{model_name(model)}/versions/{version}"


def training_name(given: str) -> str:
    """trainings/{training} of an id; a resource name stays as it is."""
    return given if given.startswith("trainings/") else f"trainings/{given}"


def train_model(
    model: str,
    data: Sequence[str | Path],
    *,
    estimator: str | None,
    params: Mapping[str, Any] | None,
    split: str | None,
    held_out_fraction: float,
    seed: int,
    tags: Mapping[str, str] | None,
    description: str,
    base_version: int | str,
    request_id: str,
) -> pb.TrainModelRequest:
    """What to train and on what.

    Raises:
        InvalidArgumentError: estimator or split is unknown.
    """
    spec = training_pb2.TrainingSpec(
        model=model_name(model),
        data_uris=[str(uri) for uri in data],
        held_out_fraction=held_out_fraction,
        seed=seed,
        description=description,
        base_version=str(base_version),
        params={name: _literal(value) for name, value in (params or {}).items()},
        tags=dict(tags or {}),
    )
    if estimator:
        spec.estimator = _number("estimator", estimator)  # type: ignore[assignment]  # an enum's number
    if split:
        spec.split = _number("split", split)  # type: ignore[assignment]  # likewise
    return pb.TrainModelRequest(spec=spec, request_id=request_id)


def list_promotions(model: str, state: str, page_size: int) -> pb.ListPromotionsRequest:
    """A page of promotions; `state`: pending, committed, rejected, or empty for any."""
    request = pb.ListPromotionsRequest(parent=model_name(model), page_size=page_size)
    if state:
        request.state = _number("state", state)  # type: ignore[assignment]  # an enum's number
    return request


def collect_garbage(grace: float | None, *, validate_only: bool) -> pb.CollectGarbageRequest:
    """A collection; the registry's own grace where none is given, in seconds."""
    return pb.CollectGarbageRequest(validate_only=validate_only, grace=None if grace is None else to_duration(grace))


def promote(
    model: str,
    version: int | str,
    *,
    alias: str,
    expected_generation: int | None,
    reason: str,
    request_id: str,
    validate_only: bool,
    override_gates: bool,
) -> pb.PromoteModelVersionRequest:
    """Which alias to move where."""
    return pb.PromoteModelVersionRequest(
        name=version_name(model, version), alias=alias, validate_only=validate_only, reason=reason,
        expected_generation=expected_generation, request_id=request_id, override_gates=override_gates,
    )  # fmt: skip


def download(model: str, version: int | str, flavor: str) -> pb.DownloadModelVersionRequest:
    """What to send. `flavor`: source, onnx or joblib."""
    request = pb.DownloadModelVersionRequest(name=version_name(model, version))
    request.flavor = _number("flavor", flavor)  # type: ignore[assignment]  # an enum's number
    return request


def upload(
    model: str,
    path: Path,
    *,
    format_: str,
    feature_schema_hash: str,
    tags: Mapping[str, str] | None,
    description: str,
    request_id: str,
) -> Iterator[pb.RegisterModelVersionRequest]:
    """The messages of an upload: the header, then chunks.

    Raises:
        InvalidArgumentError: the file cannot be read, or the format is unknown.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
    except OSError as error:
        raise InvalidArgumentError(f"{path}: {error.strerror or error}") from error
    header = pb.UploadHeader(
        model=model_name(model), size_bytes=size, digest=digest, feature_schema_hash=feature_schema_hash,
        tags=dict(tags or {}), description=description, request_id=request_id or f"sha256-{digest[:40]}",
    )  # fmt: skip
    header.format = _number("format", format_)  # type: ignore[assignment]  # an enum's number
    return _parts(header, path)


def _parts(header: pb.UploadHeader, path: Path) -> Iterator[pb.RegisterModelVersionRequest]:
    yield pb.RegisterModelVersionRequest(header=header)
    with path.open("rb") as file:
        offset = 0
        while data := file.read(CHUNK):
            yield pb.RegisterModelVersionRequest(chunk=pb.UploadChunk(offset=offset, data=data))
            offset += len(data)


def pairs(texts: Iterable[str], what: str) -> dict[str, str]:
    """A mapping of `name=value` texts.

    Raises:
        InvalidArgumentError: a text has another form.
    """
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidArgumentError.of(what, f"{text!r}; expected name=value")
        found[key] = value
    return found


def _literal(value: Any) -> str:
    """A parameter as JSON where it is a number or a boolean, else as it is."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _number(field: str, text: str) -> int:
    try:
        return enum_number(_ENUMS[field], text)
    except ValueError as error:
        raise InvalidArgumentError.of(field, str(error)) from error

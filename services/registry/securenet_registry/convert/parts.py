"""Parts that several messages hold: times, metrics, files, places in a list."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from securenet.registry.v1 import model_pb2
from securenet_core.exceptions import InvalidArgumentError
from securenet_registry.artifacts.manifest import ArtifactFile
from securenet_registry.training.evaluation import Metric


def metric_message(metric: Metric) -> model_pb2.Metric:
    """A metric."""
    return model_pb2.Metric(name=metric.name, value=metric.value, dataset=metric.dataset)


def file_message(file: ArtifactFile) -> model_pb2.ArtifactFile:
    """A file."""
    return model_pb2.ArtifactFile(path=file.path, size_bytes=file.size_bytes, digest=file.digest)


def timestamp(nanoseconds: int) -> Timestamp | None:
    """A time; absent where it is not yet."""
    if not nanoseconds:
        return None
    stamp = Timestamp()
    stamp.FromNanoseconds(nanoseconds)
    return stamp


def duration(seconds: float) -> Duration:
    """A span of time."""
    span = Duration()
    span.FromNanoseconds(int(seconds * 1e9))
    return span


def number(value: Any) -> int:
    """A whole number of a page token.

    Raises:
        InvalidArgumentError: it is none.
    """
    if not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise InvalidArgumentError.of("page_token", "not a token of this service; take next_page_token as it came")
    return value


def text(value: Any) -> str:
    """A text of a page token.

    Raises:
        InvalidArgumentError: it is none.
    """
    if not isinstance(value, str):
        raise InvalidArgumentError.of("page_token", "not a token of this service; take next_page_token as it came")
    return value

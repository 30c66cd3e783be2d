"""A download becomes a file only when everything came."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from securenet.registry.v1 import model_pb2
from securenet.registry.v1 import registry_pb2 as pb
from securenet_client.registry.downloads import DownloadFile
from securenet_client.registry.requests import pairs, upload, version_name
from securenet_core.exceptions import DataLossError, InvalidArgumentError

pytestmark = pytest.mark.unit

CONTENT = b"model" * 1000


def header(content: bytes = CONTENT) -> pb.DownloadModelVersionResponse:
    file = model_pb2.ArtifactFile(
        path="model.skops", size_bytes=len(content), digest=hashlib.sha256(content).hexdigest()
    )
    return pb.DownloadModelVersionResponse(header=pb.DownloadHeader(file=file))


def chunk(offset: int, data: bytes) -> pb.DownloadModelVersionResponse:
    return pb.DownloadModelVersionResponse(chunk=pb.DownloadChunk(offset=offset, data=data))


def complete(file: DownloadFile, messages: list[pb.DownloadModelVersionResponse]) -> None:
    for message in messages:
        file.take(message)
    file.finish()


def test_what_came_is_written(tmp_path: Path) -> None:
    with DownloadFile(tmp_path / "deep" / "model") as file:
        for message in (header(), chunk(0, CONTENT[:7]), chunk(7, CONTENT[7:])):
            file.take(message)
        file.finish()

    assert (tmp_path / "deep" / "model").read_bytes() == CONTENT
    assert len(list((tmp_path / "deep").iterdir())) == 1


@pytest.mark.parametrize(
    "messages",
    [[chunk(0, CONTENT)], [header(), chunk(0, CONTENT[:-1])], [header(), chunk(0, b"x" * len(CONTENT))]],
    ids=["no header", "too short", "other bytes"],
)
def test_what_is_not_complete_leaves_no_file(messages: list[pb.DownloadModelVersionResponse], tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"before")

    with DownloadFile(tmp_path / "model") as file, pytest.raises(DataLossError):
        complete(file, messages)

    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_a_chunk_out_of_place_is_refused(tmp_path: Path) -> None:
    with DownloadFile(tmp_path / "model") as file:
        file.take(header())
        with pytest.raises(DataLossError, match="byte 5"):
            file.take(chunk(5, b"x"))


def test_an_upload_says_what_comes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"x" * ((1 << 20) + 1))

    first, *chunks = upload("m", path, format_="onnx", feature_schema_hash="", tags=None, description="", request_id="")

    assert first.header.model == "models/m"
    assert first.header.size_bytes == (1 << 20) + 1
    assert [part.chunk.offset for part in chunks] == [0, 1 << 20]
    assert first.header.request_id


def test_wrong_uploads_and_pairs(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="No such file"):
        upload("m", tmp_path / "no", format_="onnx", feature_schema_hash="", tags=None, description="", request_id="")
    (tmp_path / "m.pickle").touch()
    with pytest.raises(InvalidArgumentError, match="skops, onnx"):
        upload(
            "m",
            tmp_path / "m.pickle",
            format_="pickle",
            feature_schema_hash="",
            tags=None,
            description="",
            request_id="",
        )
    with pytest.raises(InvalidArgumentError, match="name=value"):
        pairs(["x"], "--param")
    assert pairs(["a=1", "b=x=y"], "--param") == {"a": "1", "b": "x=y"}
    assert version_name("m", "champion") == "models/m/versions/champion"

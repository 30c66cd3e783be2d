"""Captures as one matrix: labels, names, limits, and what is said of bad ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from securenet_flows.batch import Dictionary, FlowBatch
from securenet_flows.features import Column
from securenet_registry.training.dataset import Dataset, Limits, TrainingDataError, load, resolve

pytestmark = pytest.mark.unit


def batch(labels: list[str | None]) -> FlowBatch:
    n = len(labels)
    addresses = np.zeros((n, 16), np.uint8)
    return FlowBatch(
        np.arange(n, dtype=np.int64) * 10**9, addresses, addresses, np.full(n, 6, np.uint8),
        text={"label": Dictionary.encode(labels)},
    )  # fmt: skip


def reader(path: Path) -> Iterator[FlowBatch]:
    labels = [text if text != "-" else None for text in path.read_text().split()]
    for start in range(0, len(labels), 3):
        yield batch(labels[start : start + 3])


def read(*paths: Path, labels: bool = True, limits: Limits | None = None) -> Dataset:
    return load([str(path) for path in paths], reader, limits or Limits(), labels=labels, progress=lambda *_: None)


def write(folder: Path, name: str, labels: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(labels)
    return path


def test_unknown_rows_are_dropped_but_their_source_is_remembered(tmp_path: Path) -> None:
    data = read(write(tmp_path, "a.log", "unknown benign - malicious benign"))
    assert data.malicious.tolist() == [False, True, False]
    assert (data.captures[0].rows, data.captures[0].malicious, data.captures[0].unknown) == (3, 1, 2)
    src_flows = data.x[:, Column.SRC_FLOWS_LOG]
    assert src_flows[0] > 0  # the dropped row came before it


def test_captures_weigh_the_same(tmp_path: Path) -> None:
    data = read(write(tmp_path, "a.log", "benign " * 8), write(tmp_path, "b.log", "malicious " * 2))
    weight = data.weight()
    assert weight[data.capture == 0].sum() == pytest.approx(weight[data.capture == 1].sum())
    assert weight.mean() == pytest.approx(1)


def test_names_are_the_captures_own_and_unique(tmp_path: Path) -> None:
    paths = [write(tmp_path / day, "conn.log.gz", "benign malicious") for day in ("mon", "tue")]
    again = write(tmp_path / "other", "mon.csv", "benign")
    assert [c.name for c in read(*paths, again).captures] == ["mon", "tue", "mon#2"]


def test_the_digest_follows_the_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, "a.log", "benign malicious")
    first = read(path).captures[0].digest
    path.write_text("benign benign")
    assert read(path).captures[0].digest != first


def test_a_capture_without_labels_is_named(tmp_path: Path) -> None:
    good, bad = write(tmp_path, "good.log", "benign malicious"), write(tmp_path, "bad.log", "- - -")
    with pytest.raises(TrainingDataError, match=r"bad\.log: 3 flows and no labels"):
        read(good, bad)
    assert len(read(good, bad, labels=False).x) == 5


def test_limits(tmp_path: Path) -> None:
    path = write(tmp_path, "a.log", "benign " * 10)
    with pytest.raises(TrainingDataError, match="more flows than may be read"):
        read(path, limits=Limits(rows=9))
    with pytest.raises(TrainingDataError, match="expected at most 10"):
        read(path, limits=Limits(bytes=10))
    with pytest.raises(TrainingDataError, match="no flow to train on"):
        read(write(tmp_path, "empty.log", ""), labels=False)


def test_addresses_of_data(tmp_path: Path) -> None:
    path = write(tmp_path, "a b.log", "benign")
    assert resolve(str(path), Limits()) == path
    assert resolve(path.as_uri(), Limits()) == path
    assert resolve(str(path), Limits(roots=(tmp_path,), any_folder=False)) == path
    for uri, said in (
        ("s3://bucket/key", "scheme 's3'"),
        ("file://elsewhere/etc/passwd", "scheme"),
        (str(tmp_path / "absent"), "No such file"),
        ("a\0b", "NUL"),
    ):
        with pytest.raises(TrainingDataError, match=said):
            resolve(uri, Limits())


def test_data_outside_the_roots_is_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", write(tmp_path, "secret.log", "benign")
    inside.mkdir()
    (inside / "link.log").symlink_to(outside)
    for uri in (str(outside), str(inside / ".." / "secret.log"), str(inside / "link.log")):
        with pytest.raises(TrainingDataError, match="outside the allowed folders"):
            resolve(uri, Limits(roots=(inside,)))
    with pytest.raises(TrainingDataError, match="data_roots, which is not set"):
        resolve(str(outside), Limits(any_folder=False))

"""Feed files: recognised by content, bounded, located."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest
import zstandard

from securenet_scanner.advisories import feeds
from securenet_scanner.advisories.feeds import FeedError, FeedKind, Limits

pytestmark = pytest.mark.unit

RECORD = {"id": "X-1", "modified": "2024-01-01T00:00:00Z", "affected": []}
LINE = json.dumps(RECORD).encode() + b"\n"


def only(folder: Path, limits: Limits | None = None) -> feeds.FeedFile:
    (found,), _ = feeds.find(folder, limits or Limits())
    return found


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.jsonl", lambda data: data),
        ("a.jsonl.gz", gzip.compress),
        ("a.jsonl.zst", zstandard.ZstdCompressor().compress),
    ],
)
def test_lines_in_any_packing(tmp_path: Path, name: str, pack: object) -> None:
    (tmp_path / name).write_bytes(pack(LINE * 3))  # type: ignore[operator]  # one of the three above
    feed = only(tmp_path)
    assert feed.kind is FeedKind.OSV_LINES
    assert [raw.place for raw in feeds.records(feed, Limits())] == [f"{name}:1", f"{name}:2", f"{name}:3"]


def test_kinds_are_told_by_content(tmp_path: Path) -> None:
    (tmp_path / "kev.json").write_text(json.dumps({"catalogVersion": "1", "vulnerabilities": []}, indent=1))
    (tmp_path / "epss.csv").write_text("#model_version:v1,score_date:2024-01-01T00:00:00+0000\ncve,epss,percentile\n")
    (tmp_path / "one.json").write_text(json.dumps(RECORD, indent=2))
    (tmp_path / "schema.json").write_text("{}")
    (tmp_path / "README.md").write_text("words")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("X-1.json", LINE)
    found, others = feeds.find(tmp_path, Limits())
    assert {feed.name: feed.kind for feed in found} == {
        "kev.json": FeedKind.KEV,
        "epss.csv": FeedKind.EPSS,
        "one.json": FeedKind.OSV_RECORD,
        "all.zip": FeedKind.OSV_ARCHIVE,
    }
    assert len(others) == 2


def test_names_in_archives_are_never_paths(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("../../evil.json", LINE)
    (raw,) = feeds.records(only(tmp_path), Limits())
    assert raw.place == "all.zip!../../evil.json"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["all.zip"]


def test_a_bomb_ends_at_the_bound(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20):
            archive.writestr(f"{number}.json", b" " * 1_000_000)
    with pytest.raises(FeedError, match="expands to more than 5000000 bytes"):
        list(feeds.records(only(tmp_path), Limits(expanded_bytes=5_000_000)))
    (tmp_path / "all.zip").unlink()
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(LINE + (b" " * 999 + b"\n") * 9_000))
    with pytest.raises(FeedError, match=r"b\.jsonl\.zst:\d+: expands to more than"):
        list(feeds.records(only(tmp_path), Limits(expanded_bytes=5_000_000)))


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINE + b"[" * 5_000 + b"\n" + LINE)
    raws = list(feeds.records(only(tmp_path), Limits(record_bytes=1_000)))
    assert [bool(raw.problem) for raw in raws] == [False, True, False]
    assert raws[2].place == "a.jsonl:3"


def test_a_truncated_file_is_an_error(tmp_path: Path) -> None:
    packed = gzip.compress(b"".join(json.dumps(RECORD | {"n": i}).encode() + b"\n" for i in range(5_000)))
    (tmp_path / "a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(FeedError, match=r"a\.jsonl\.gz:\d+: broken file"):
        list(feeds.records(only(tmp_path), Limits()))


def test_a_feed_that_is_no_feed_says_which_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{broken\n" * 30)
    with pytest.raises(FeedError, match=r"a\.jsonl:1: not JSON"):
        feeds.find(tmp_path, Limits())


def test_deep_json_is_refused() -> None:
    with pytest.raises(ValueError, match="nested deeper than 64"):
        feeds.parse_json(b"[" * 100_000 + b"]" * 100_000, Limits())
    with pytest.raises(ValueError, match="nested deeper than 64"):
        feeds.parse_json(b"[" * 70 + b"]" * 70, Limits())
    assert feeds.parse_json(b"[" * 60 + b"]" * 60, Limits()) is not None


def test_links_out_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside.jsonl"
    outside.write_bytes(LINE)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.jsonl").symlink_to(outside)
    with pytest.raises(FeedError, match="holds no feed"):
        feeds.find(tmp_path / "in", Limits())
    with pytest.raises(FeedError, match="more than 1 files"):
        feeds.find(tmp_path, Limits(files=1))

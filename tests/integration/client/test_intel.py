"""`securenet intel` and both clients against real services."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from service_process import ServiceProcess, running
from typer.testing import CliRunner

from securenet_client import AsyncDetectionClient, DetectionClient, Flow, ThreatLevel
from securenet_client.cli.application import make_application
from securenet_client.detection.intel import FeedOptions
from securenet_core.exceptions import AlreadyExistsError

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LISTED = "203.0.113.9"


@pytest.fixture(scope="module")
def detection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with running("detection", tmp_path_factory.mktemp("detection")) as service:
        yield service


def invoke(*arguments: str, stdin: str | None = None) -> Any:
    return CliRunner().invoke(make_application(), arguments, input=stdin)


def test_import_list_test_and_delete(detection: ServiceProcess, tmp_path: Path) -> None:
    feed = tmp_path / "Block List.txt"
    feed.write_text(f"{LISTED}\nnonsense\n*.evil.example\n")
    server = ("--server", detection.address)
    result = invoke("intel", "import", str(feed), "--confidence", "90", "--licence", "CC0", "--output", "json", *server)
    assert result.exit_code == 0, result.output
    (imported,) = json.loads(result.stdout)
    assert imported["feed"]["name"] == "indicatorFeeds/block-list"
    assert imported["feed"]["rejected_count"] == 1
    assert imported["rejections"][0]["place"] == "line 2"
    listed = json.loads(invoke("intel", "list", "--output", "json", *server).stdout)
    assert [(one["name"], one["indicator_count"], one["licence"]) for one in listed] == [("block-list", 2, "CC0")]
    asked = invoke(
        "intel", "test", "-", "--output", "jsonl", *server, stdin=f"{LISTED}\n# x\na.evil.example\n198.51.100.1\n"
    )
    assert asked.exit_code == 0
    assert [json.loads(line)["listed"] for line in asked.stdout.splitlines()] == [True, True, False]
    assert invoke("intel", "test", LISTED, "--fail-on", "50", *server).exit_code == 1
    assert invoke("intel", "test", LISTED, "--fail-on", "95", *server).exit_code == 0
    assert invoke("intel", "test", "?", *server).exit_code == 2
    feed.write_text(f"{LISTED}\n198.51.100.1\n")
    assert invoke("intel", "import", str(feed), "--keep", *server).exit_code == 2
    assert invoke("intel", "import", str(feed), *server).exit_code == 0
    assert invoke("intel", "test", "198.51.100.1", "--fail-on", "1", *server).exit_code == 1
    assert invoke("intel", "delete", "block-list", *server).exit_code == 0
    assert invoke("intel", "delete", "block-list", *server).exit_code == 2
    assert json.loads(invoke("intel", "list", "--output", "json", *server).stdout) == []


def test_what_cannot_be_imported_is_said(detection: ServiceProcess, tmp_path: Path) -> None:
    server = ("--server", detection.address)
    assert invoke("intel", "import", str(tmp_path / "absent"), *server).exit_code == 2
    assert invoke("intel", "import", str(tmp_path), *server).exit_code == 2
    (tmp_path / "a.txt").write_text("nonsense")
    (tmp_path / "b.txt").write_text(LISTED)
    result = invoke("intel", "import", str(tmp_path), "--name", "mine", *server)
    assert result.exit_code == 2
    assert "a.txt" in result.stderr
    assert [one["name"] for one in json.loads(invoke("intel", "list", "--output", "json", *server).stdout)] == [
        "mine-b"
    ]
    assert invoke("intel", "delete", "mine-b", *server).exit_code == 0
    assert invoke("intel", "list", "--server", "127.0.0.1:1").exit_code == 3


def test_both_clients(detection: ServiceProcess) -> None:
    async def asynchronously() -> int:
        async with AsyncDetectionClient(detection.address) as client:
            await client.import_indicators(b"evil.example\n", FeedOptions("async"))
            feeds = [feed.id async for feed in client.list_indicator_feeds(page_size=1)]
            assert feeds == ["async", "sync"]
            (match,) = await client.lookup_indicators(["www.evil.example"])
            assert match.listed
            return await client.delete_indicator_feed("async")

    with DetectionClient(detection.address) as client:
        done: list[int] = []
        imported = client.import_indicators(f"{LISTED}\n".encode(), FeedOptions("sync"), done.append)
        assert done == [12]
        with pytest.raises(AlreadyExistsError):
            client.import_indicators(b"198.51.100.1\n", FeedOptions("sync", replace=False))
        version = asyncio.run(asynchronously())
        assert version == imported.version + 2
        verdict = client.analyze(Flow("10.0.0.5", LISTED, dst_port=443, conn_state="SF"))
        assert verdict.threat_level >= ThreatLevel.HIGH
        assert client.delete_indicator_feed("sync") == version + 1


def test_an_embedded_analysis_uses_what_was_imported(tmp_path: Path) -> None:
    data = ("--embedded", "--data-dir", str(tmp_path / "data"), "--quiet")
    (tmp_path / "feed.txt").write_text(f"{LISTED}\n")
    log = tmp_path / "conn.log"
    fields = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes resp_bytes conn_state"
    kinds = "time string addr port addr port enum string interval count count string"
    rows = [
        f"17672256{n:02d}.0\tC{n}\t10.0.0.5\t40000\t{peer}\t443\ttcp\tssl\t1.0\t900\t9000\tSF"
        for n, peer in enumerate((LISTED, "198.51.100.1"))
    ]
    head = ["#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", "#path\tconn"]
    head += ["#fields\t" + fields.replace(" ", "\t"), "#types\t" + kinds.replace(" ", "\t")]
    log.write_text("\n".join([*head, *rows]) + "\n")
    assert invoke("intel", "import", str(tmp_path / "feed.txt"), *data).exit_code == 0
    result = invoke("analyze", str(log), "--output", "jsonl", *data)
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["threat_level"], one["detectors"]) for one in found] == [("high", ["threat-intel"]), ("low", [])]

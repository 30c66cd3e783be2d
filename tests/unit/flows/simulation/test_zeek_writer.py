from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from securenet_flows.simulation import (
    ScheduledScenario,
    SimulationError,
    SimulationProgress,
    SimulationSettings,
    write_zeek_logs,
)

pytestmark = pytest.mark.unit

SETTINGS = SimulationSettings(
    duration_s=900.0,
    hosts=30,
    scenarios=(ScheduledScenario("ssh-brute-force", 60.0, {"attempts": "40"}), ScheduledScenario("beacon", 10.0)),
)


def table(path: Path) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Header and records of a TSV log."""
    header: dict[str, str] = {}
    records = []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            key, _, value = (
                line[1:].replace(" ", "\t", 1).partition("\t") if line.startswith("#sep") else line[1:].partition("\t")
            )
            header[key] = value
        else:
            records.append(dict(zip(header["fields"].split("\t"), line.split("\t"), strict=True)))
    return header, records


def test_files_are_byte_identical_for_a_seed_and_differ_for_another(tmp_path: Path) -> None:
    write_zeek_logs(SETTINGS, tmp_path / "a", compress=True)
    write_zeek_logs(SETTINGS, tmp_path / "b", compress=True)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["conn.log.gz", "dns.log.gz", "http.log.gz", "ssh.log.gz", "ssl.log.gz"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    write_zeek_logs(SimulationSettings(seed=2, duration_s=900.0, hosts=30), tmp_path / "c", compress=True)
    assert (tmp_path / "c" / "conn.log.gz").read_bytes() != (tmp_path / "a" / "conn.log.gz").read_bytes()


def test_headers_are_those_of_zeek(tmp_path: Path) -> None:
    write_zeek_logs(SETTINGS, tmp_path)
    text = (tmp_path / "conn.log").read_text().splitlines()
    assert text[:6] == [
        "#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", "#path\tconn",
        "#open\t2025-03-03-08-00-00",
    ]  # fmt: skip
    assert text[-1] == "#close\t2025-03-03-08-15-00"
    header, records = table(tmp_path / "conn.log")
    assert header["fields"].startswith("ts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration")
    assert header["fields"].endswith("\ttunnel_parents\tlabel\tdetailed_label")
    assert len(header["fields"].split("\t")) == len(header["types"].split("\t"))
    assert all(re.fullmatch(r"\d{10}\.\d{6}", record["ts"]) for record in records)
    assert all(re.fullmatch(r"C[0-9A-Za-z]{17}", record["uid"]) for record in records)


def test_application_logs_share_uid_and_addresses_with_conn(tmp_path: Path) -> None:
    summary = write_zeek_logs(SETTINGS, tmp_path)
    _, connections = table(tmp_path / "conn.log")
    by_uid = {record["uid"]: record for record in connections}
    assert len(by_uid) == summary.flows
    for name in ("dns", "http", "ssl", "ssh"):
        _, records = table(tmp_path / f"{name}.log")
        assert len(records) == summary.records[name] > 0
        for record in records:
            flow = by_uid[record["uid"]]
            assert all(record[key] == flow[key] for key in ("id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p"))
            assert float(record["ts"]) >= float(flow["ts"])
            assert flow["service"] == name


def test_json_holds_what_tsv_holds(tmp_path: Path) -> None:
    write_zeek_logs(SETTINGS, tmp_path / "tsv", "tsv")
    write_zeek_logs(SETTINGS, tmp_path / "json", "json")
    for name in ("conn", "dns", "http", "ssl", "ssh"):
        _, plain = table(tmp_path / "tsv" / f"{name}.log")
        objects = [json.loads(line) for line in (tmp_path / "json" / f"{name}.log").read_text().splitlines()]
        assert len(plain) == len(objects)
        for left, right in zip(plain, objects, strict=True):
            assert {key for key, value in left.items() if value != "-"} == set(right)
            for key, value in right.items():
                assert as_tsv(value) == left[key] or float(left[key]) == value, (name, key)


def as_tsv(value: object) -> str:
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, list):
        return ",".join(f"{item:.6f}" if isinstance(item, float) else str(item) for item in value)
    return str(value)


def test_the_summary_counts_what_was_written(tmp_path: Path) -> None:
    summary = write_zeek_logs(SETTINGS, tmp_path)
    _, records = table(tmp_path / "conn.log")
    labels = Counter((record["label"], record["detailed_label"]) for record in records)
    assert {d: n for (label, d), n in labels.items() if label == "malicious"} == dict(summary.scenarios)
    assert {d: n for (label, d), n in labels.items() if label == "benign"} == dict(summary.activities)
    assert summary.malicious == sum(summary.scenarios.values()) > 40
    assert [path.name for path in summary.files] == ["conn.log", "dns.log", "http.log", "ssl.log", "ssh.log"]
    assert json.loads(json.dumps(summary.as_dict()))["flows"] == summary.flows == len(records)


def test_progress_rises_to_the_end(tmp_path: Path) -> None:
    seen: list[SimulationProgress] = []
    summary = write_zeek_logs(SETTINGS, tmp_path, progress=seen.append)
    shares = [step.share for step in seen]
    assert shares == sorted(shares)
    assert 0.9 < shares[-1] <= 1.0
    assert seen[-1].flows == summary.flows


def test_a_directory_holds_one_simulation(tmp_path: Path) -> None:
    write_zeek_logs(SETTINGS, tmp_path)
    (tmp_path / "notes.txt").write_text("kept")
    write_zeek_logs(SETTINGS, tmp_path, "json", compress=True)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".log") == []
    assert (tmp_path / "notes.txt").read_text() == "kept"
    assert json.loads(gzip.decompress((tmp_path / "conn.log.gz").read_bytes()).splitlines()[0])["label"] == "benign"


def test_nothing_is_touched_when_a_scenario_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="expected one of"):
        write_zeek_logs(SimulationSettings(scenarios=(ScheduledScenario("wrong"),)), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(SimulationError, match="format: 'xml'; expected tsv or json"):
        write_zeek_logs(SETTINGS, tmp_path / "new", "xml")  # type: ignore[arg-type]  # what is refused


def test_addresses_ports_and_null_fields_are_zeeks(tmp_path: Path) -> None:
    write_zeek_logs(SETTINGS, tmp_path)
    _, records = table(tmp_path / "conn.log")
    alone = [record for record in records if record["duration"] == "-"]
    assert alone
    assert {(r["orig_bytes"], r["resp_bytes"], r["resp_pkts"]) for r in alone} == {("-", "-", "0")}
    assert {r["proto"] for r in records} == {"tcp", "udp", "icmp"}
    assert any(":" in r["id.orig_h"] for r in records)
    flags = np.array([(r["local_orig"], r["local_resp"]) for r in records])
    assert {tuple(pair) for pair in flags.tolist()} >= {("T", "T"), ("T", "F"), ("F", "T")}
    assert ("F", "F") not in {tuple(pair) for pair in flags.tolist()}

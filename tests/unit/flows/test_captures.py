"""What is read as one: rotated logs, logs beside them, twins, directories, standard input."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from securenet_flows import (
    FlowBatch,
    NotFlowsError,
    ReadOptions,
    UnreadableFileError,
    find_captures,
    open_capture,
    read_flows,
)
from securenet_flows.report import ReadReport

pytestmark = pytest.mark.unit

CONN = "#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state{}\n"
DNS = "#path\tdns\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tquery\tanswers\n"
HTTP = "#path\thttp\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tmethod\thost\turi\tstatus_code\n"
ENDS = "192.0.2.1\t40000\t192.0.2.2\t80"


def conn(*uids: str, label: str = "") -> str:
    more = f"\t{label}" if label else ""
    return CONN.format("\tlabel" if label else "") + "".join(f"1.0\t{uid}\t{ENDS}\ttcp\tSF{more}\n" for uid in uids)


def dns(*uids: str) -> str:
    return DNS + "".join(f"1.0\t{uid}\t{ENDS}\tudp\t{uid}.example\t192.0.2.1,192.0.2.2\n" for uid in uids)


def http(*rows: tuple[str, str]) -> str:
    return HTTP + "".join(f"1.0\t{uid}\t{ENDS}\tGET\t{host}\t/\t200\n" for uid, host in rows)


def flow_ids(batches: list[FlowBatch]) -> list[str | None]:
    return [uid for batch in batches for uid in batch.texts("flow_id").decode()]


def test_siblings_are_joined_by_uid_and_the_first_record_counts(tmp_path: Path) -> None:
    (tmp_path / "conn.log").write_text(conn("C1", "C2", "C3"))
    (tmp_path / "dns.2020.log").write_text(dns("C2"))
    (tmp_path / "http.log").write_text(http(("C3", "first"), ("C3", "second"), ("C9", "nobody")))
    for path in (tmp_path, tmp_path / "conn.log"):
        capture = open_capture(path)
        (batch,) = list(capture)
        assert batch.texts("dns_query").decode() == [None, "C2.example", None]
        assert batch.has("dns_answer_count").tolist() == [False, True, False]
        assert batch.number("dns_answer_count").tolist() == [0, 2, 0]
        assert batch.texts("http_host").decode() == [None, None, "first"]
        assert batch.number("http_status_code").tolist() == [0, 0, 200]
        assert "joined by uid" in capture.report.notes[-1]


def test_joining_can_be_left_away(tmp_path: Path) -> None:
    (tmp_path / "conn.log").write_text(conn("C2"))
    (tmp_path / "dns.log").write_text(dns("C2"))
    stream = read_flows(tmp_path, join_siblings=False)
    (batch,) = list(stream)
    assert "dns_query" not in batch.text


def test_the_records_held_for_joining_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "conn.log").write_text(conn("C1", "C2", "C3"))
    (tmp_path / "dns.log").write_text(dns("C1", "C2", "C3"))
    capture = open_capture(tmp_path, ReadOptions(sibling_records=2))
    (batch,) = list(capture)
    assert batch.texts("dns_query").decode() == ["C1.example", "C2.example", None]
    assert any("the limit of records held" in note for note in capture.report.notes)


def test_rotated_logs_are_one_capture_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "conn.11.log").write_text(conn("C2"))
    (tmp_path / "conn.10.log").write_text(conn("C1"))
    capture = open_capture(tmp_path)
    assert flow_ids(list(capture)) == ["C1", "C2"]
    assert capture.name == tmp_path.name


def test_the_labelled_twin_is_preferred_and_said(tmp_path: Path) -> None:
    (tmp_path / "conn.log").write_text(conn("C1", "C2"))
    (tmp_path / "labeled-conn.log").write_text(conn("C1", "C2", label="Malicious"))
    stream = read_flows(tmp_path)
    (batch,) = list(stream)
    assert batch.texts("label").decode() == ["malicious", "malicious"]
    assert [(Path(file.path).name, file.reason) for file in stream.report.skipped] == [
        ("conn.log", "the flows of labeled-conn.log once more, without labels")
    ]


def test_a_twin_that_is_named_is_read(tmp_path: Path) -> None:
    (tmp_path / "conn.log").write_text(conn("C1"))
    (tmp_path / "labeled-conn.log").write_text(conn("C1", label="Malicious"))
    assert len(flow_ids(list(read_flows([tmp_path / "conn.log", tmp_path / "labeled-conn.log"])))) == 2


def test_open_connections_are_a_capture_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "conn.log").write_text(conn("C1"))
    (tmp_path / "open_conn.log").write_text(conn("C1", "C2"))
    (tmp_path / "open_http.log").write_text(http(("C2", "host")))
    report = ReadReport()
    captures = list(find_captures([tmp_path], report=report))
    assert [capture.name.partition("/")[2] for capture in captures] == ["", "open_conn.log"]
    (batch,) = list(captures[1])
    assert batch.texts("http_host").decode() == [None, "host"]
    assert "still open" in captures[1].report.notes[0]


def test_application_logs_without_a_conn_log_are_captures(tmp_path: Path) -> None:
    (tmp_path / "dns.log").write_text(dns("C1"))
    (tmp_path / "http.log").write_text(http(("C2", "host")))
    assert [capture.name.partition("/")[2] for capture in find_captures([tmp_path])] == ["dns.log", "http.log"]


def test_other_files_of_a_directory_are_told(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "conn.log").write_text(conn("C1"))
    (tmp_path / "x509.log").write_text("#path\tx509\n#fields\tts\tid\n")
    (tmp_path / "empty.log").write_text("")
    (tmp_path / "broken.gz").write_bytes(b"\x1f\x8b\x08nothing of the kind")
    (tmp_path / ".hidden").write_text("x")
    heard: list[Exception] = []
    stream = read_flows(tmp_path, on_error=heard.append)
    assert flow_ids(list(stream)) == ["C1"]
    assert {Path(file.path).name: file.reason for file in stream.report.skipped} == {
        "x509.log": "not a flow log: Zeek x509",
        "empty.log": "empty; expected flow records",
    }
    assert [Path(error.path).name for error in stream.report.unreadable] == ["broken.gz"]
    assert heard == stream.report.unreadable


def test_a_named_file_that_cannot_be_read_is_raised_unless_somebody_listens(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello\n")
    log = tmp_path / "conn.log"
    log.write_text(conn("C1"))
    with pytest.raises(NotFlowsError, match="text in no known form, beginning 'hello'"):
        list(read_flows([text, log]))
    stream = read_flows([text, tmp_path / "none", log], on_error=lambda _: None)
    assert flow_ids(list(stream)) == ["C1"]
    assert len(stream.report.unreadable) == 2


def test_a_rotated_log_that_breaks_off_does_not_end_the_capture(tmp_path: Path) -> None:
    (tmp_path / "conn.1.log").write_text(conn("C1") + "#fields\tts\tother\n2.0\tx\n")
    (tmp_path / "conn.2.log").write_text(conn("C2"))
    stream = read_flows(tmp_path)
    assert "C2" in flow_ids(list(stream))
    assert stream.report.unreadable[0].line == 5


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Input:
        buffer = io.BytesIO(conn("C1", "C2").encode())

    monkeypatch.setattr(sys, "stdin", Input())
    assert flow_ids(list(read_flows("-"))) == ["C1", "C2"]


def test_several_captures_are_not_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "conn.log").write_text(conn("C1"))
    with pytest.raises(UnreadableFileError, match=r"2 captures \(.*a, .*b\); expected one"):
        open_capture(tmp_path)


@pytest.mark.parametrize("rows", [0, -1, 1 << 30])
def test_batch_rows_have_bounds(tmp_path: Path, rows: int) -> None:
    with pytest.raises(ValueError, match="batch_rows"):
        read_flows(tmp_path, batch_rows=rows)


def test_holding_batches_needs_no_readers() -> None:
    code = "import sys, securenet_flows; assert not {'pyarrow', 'nfstream'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

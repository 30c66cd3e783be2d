"""The command line without services: help, forms of output, exit codes, and commands that need none."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from securenet_client.cli.application import make_application
from securenet_client.cli.invocation import CommandError, ExitCode, Level, execute
from securenet_client.cli.match import environment_purls
from securenet_client.cli.output import Output
from securenet_client.cli.scan import Severity, at_or_above
from securenet_core.exceptions import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PreconditionViolation,
    UnavailableError,
)

pytestmark = pytest.mark.unit

COMMANDS = ("up", "analyze", "hunt", "simulate", "evaluate", "train", "scan", "match", "doctor", "bench", "demo")
GROUPS = {
    "models": (
        "list",
        "show",
        "promote",
        "rollback",
        "download",
        "register",
        "watch",
        "cancel",
        "compare",
        "serving",
        "delete",
        "audit",
    ),
    "findings": (
        "list",
        "show",
        "watch",
        "update",
        "history",
        "export",
        "labels",
        "suppress",
        "suppressions",
        "unsuppress",
    ),
    "scopes": ("add", "list", "remove"),
    "knowledge": ("import", "show"),
    "certs": ("init", "client", "token"),
}
EVERY = [(name,) for name in COMMANDS] + [(group, name) for group, names in GROUPS.items() for name in names]


def invoke(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
    result = CliRunner().invoke(make_application(), arguments, input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_has_help_with_an_example(words: tuple[str, ...]) -> None:
    code, out, _ = invoke(*words, "--help")

    assert code == 0
    assert f"$ securenet {' '.join(words)}" in out or f"securenet {' '.join(words)}" in out.partition("Examples:")[2]


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['securenet', '--help']\n"
        "from securenet_client.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'grpc', 'numpy', 'pyarrow', 'rich', 'pydantic', 'google.protobuf'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "heavy: []"


@pytest.mark.parametrize("arguments", [("--nothing",), ("nothing",), ("analyze",), ("scan", "x", "--fail-on", "worst")])
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments)[0] == 2


def test_the_version_is_shown() -> None:
    assert invoke("--version")[:2] == (0, "securenet 0.1.0\n")


RECORDS = [{"a": 1, "b": ["x", "y"], "c": None}, {"a": 2, "b": [], "c": "ü"}]


def test_json_is_an_array(capsys: pytest.CaptureFixture[str]) -> None:
    Output("json").records(iter(RECORDS), ("a",))
    Output("json").records(iter(()), ("a",))

    first, empty = capsys.readouterr().out.split("\n]\n")
    assert json.loads(f"{first}]") == RECORDS
    assert json.loads(empty) == []


def test_json_lines_are_one_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    Output("jsonl").records(iter(RECORDS), ("a",))

    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == RECORDS


def test_csv_has_a_header_and_joins_lists(capsys: pytest.CaptureFixture[str]) -> None:
    Output("csv").records(iter(RECORDS), ("a", "b", "c"))

    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [["a", "b", "c"], ["1", "x;y", ""], ["2", "", "ü"]]


def test_a_table_shows_markup_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    Output("table").table([("[red]x[/red]", True, 0.123456)], ("one", "two", "three"))

    out = capsys.readouterr().out
    assert "[red]x[/red]" in out
    assert "yes" in out
    assert "0.1235" in out


def test_quiet_says_nothing_but_complains(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(quiet=True)
    out.say("hello")
    out.complain("no")

    assert capsys.readouterr().err == "securenet: no\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CommandError("no", 3), 3, "securenet: no"),
        (UnavailableError("gone"), 3, "--embedded"),
        (NotFoundError("findings/x: there is no such finding"), 2, "findings/x"),
        (InvalidArgumentError("bad", fields=InvalidArgumentError.of("ports", "got x").fields), 2, "ports: got x"),
        (
            FailedPreconditionError("gates", preconditions=[PreconditionViolation("gate", "metric-mcc", ".1 < .2")]),
            2,
            "metric-mcc: .1 < .2",
        ),
        (FileNotFoundError(2, "No such file or directory", "x.log"), 2, "x.log: No such file"),
        (ZeroDivisionError("division by zero"), 70, "--debug"),
    ],
)
def test_errors_become_a_message_and_an_exit_code(
    error: Exception, code: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(_run: object) -> int:
        raise error

    assert execute(fails, {}, {}) == code
    err = capfd.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    def fails(_run: object) -> int:
        raise ZeroDivisionError

    assert execute(fails, {}, {"debug": True}) == ExitCode.FAULT
    assert "Traceback" in capfd.readouterr().err


def test_options_may_stand_before_the_command() -> None:
    code, out, _ = invoke("--output", "json", "simulate", "--list")

    assert code == 0
    assert {"beacon", "horizontal-scan"} <= {record["name"] for record in json.loads(out)}


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    program = "from securenet_client.cli import main; main()"
    for form in ("table", "jsonl"):
        run = f"{sys.executable} -c '{program}' simulate --list -o {form}"
        command = f"{run} | head -c 10 > /dev/null; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("0\n", "")


def test_simulate_writes_labelled_logs(tmp_path: Path) -> None:
    code, out, _ = invoke(
        "simulate", str(tmp_path / "capture"), "--duration", "3m", "--hosts", "12", "--scenario", "vertical-scan@30s",
        "--output", "json",
    )  # fmt: skip

    summary = json.loads(out)
    assert code == 0
    assert summary["malicious"] > 0
    assert (tmp_path / "capture" / "conn.log").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("x", "--scenario", "nothing"),
        ("x", "--duration", "long"),
        ("x", "--start", "someday"),
        ("x", "--format", "xml"),
        ("x", "--hosts", "1"),
    ],
)
def test_simulate_refuses_what_it_cannot_do(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = invoke("simulate", *arguments)

    assert code == 2
    assert "expected" in err or "missing" in err


def test_simulate_refuses_a_file_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert invoke("simulate", str(tmp_path / "file"))[0] == 2


def test_certificates_and_clients(tmp_path: Path) -> None:
    folder = tmp_path / "certs"

    assert invoke("certs", "client", "alice", "--dir", str(folder))[0] == 2
    code, out, _ = invoke("certs", "init", "--dir", str(folder), "--output", "json")
    assert code == 0
    assert set(json.loads(out)) == {"ca", "detection", "scanner", "registry", "detection-client", "admin"}
    assert (folder / "ca-key.pem").stat().st_mode & 0o077 == 0
    assert invoke("certs", "client", "alice", "--dir", str(folder), "--role", "analyst")[0] == 0
    assert invoke("certs", "client", "alice", "--dir", str(folder), "--role", "king")[0] == 2
    assert invoke("certs", "client", "../alice", "--dir", str(folder))[0] == 2


def test_a_token_is_kept_as_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    for subject in ("alice", "bob"):
        code, out, _ = invoke("certs", "token", subject, "--tokens", str(path), "--role", "analyst", "-o", "json")
        assert code == 0
        assert json.loads(out)["token"] not in path.read_text()

    entries = tomllib.loads(path.read_text())["tokens"]
    assert [entry["subject"] for entry in entries] == ["alice", "bob"]
    assert path.stat().st_mode & 0o077 == 0


def test_the_environment_as_package_urls() -> None:
    purls = environment_purls()

    assert any(purl.startswith("pkg:pypi/securenet-client@") for purl in purls)
    assert purls == sorted(set(purls))


def test_levels_and_severities_are_ordered() -> None:
    assert [level.number for level in Level] == [1, 2, 3, 4]
    assert at_or_above("critical", Severity.HIGH)
    assert not at_or_above("medium", Severity.HIGH)
    assert not at_or_above("unspecified", Severity.LOW)


def test_a_plot_with_another_ending_is_refused() -> None:
    code, _, err = invoke("evaluate", "x", "--plot", "curves.doc")

    assert code == 2
    assert ".png" in err


def test_match_wants_a_package() -> None:
    assert invoke("match")[0] == 2
    assert invoke("match", "-", stdin="# nothing\n\n")[0] == 2
    assert invoke("match", "-", stdin="x" * 2000)[0] == 2


def test_nobody_listens_where_nothing_does() -> None:
    code, _, err = invoke("findings", "list", "--server", "127.0.0.1:1")

    assert code == 3
    assert "securenet up" in err

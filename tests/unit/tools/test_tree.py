"""What the tree must not hold, and what it may."""

from __future__ import annotations

import pytest
import tree

pytestmark = pytest.mark.unit

HASH = "--hash=sha256:" + "0" * 64


def found(name: str, text: str) -> list[str]:
    return list(tree.problems(name, text.encode()))


@pytest.mark.parametrize(
    "line",
    [
        f"grpcio==1.85.1 \\\n    {HASH}",
        f"grpcio==1.85.1 ; python_full_version < '3.12' \\\n    {HASH} \\\n    {HASH}",
        f"psycopg[binary]==3.2.0 {HASH}",
        "# a comment",
    ],
)
def test_an_exact_requirement_with_hashes_is_a_lock(line: str) -> None:
    assert found("services/scanner/requirements.txt", f"{line}\n") == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"grpcio>=1.85 {HASH}", "expected name==version"),
        ("grpcio==1.85.1", "has no hash"),
        (f"grpcio @ https://example.org/grpcio.whl {HASH}", "expected name==version"),
        ("--extra-" + "index-url https://example.org/simple", "expected name==version"),
        ("grpcio==1.85.1 --hash=md5:00", "only --hash=sha256"),
        ("./shared/core", "expected name==version"),
    ],
)
def test_anything_else_is_not(line: str, says: str) -> None:
    problems = found("requirements.txt", f"{line}\n")
    assert any(says in problem for problem in problems)
    assert all(problem.startswith("requirements.txt:1: ") for problem in problems)


def test_a_requirement_is_named_with_its_own_line() -> None:
    problems = found("requirements.txt", f"a==1 \\\n    {HASH}\nb==1\n")
    assert problems == ["requirements.txt:3: 'b==1' has no hash; run: make lock"]


@pytest.mark.parametrize("name", ["uv.lock", "services/scanner/poetry.lock"])
def test_locks_of_other_tools_stay_out(name: str) -> None:
    assert "stay out" in found(name, "")[0]


@pytest.mark.parametrize(
    "text",
    [
        "see " + "/home/" + "ada/securenet",
        "/Users/" + "ada/securenet",
        "open('" + "/root/" + "notes.txt')",
        "https://files.python" + "hosted.org/packages/x",
        "-----BEGIN EC " + "PRIVATE KEY-----\n" + "A" * 40 + "\n",
    ],
)
def test_no_file_tells_of_a_machine_or_a_secret(text: str) -> None:
    assert found("docs/notes.md", f"first line\n{text}\n")[0].startswith("docs/notes.md:2: ")


@pytest.mark.parametrize(
    "text", ["/var/lib/securenet", "shared/work/notes", "https://example.org/home/ada/x", "/tmp/x"]
)
def test_other_paths_may_be_named(text: str) -> None:
    assert found("docs/notes.md", text) == []


def test_large_files_stay_out() -> None:
    assert "do not belong" in next(iter(tree.problems("capture.pcap", b"\xff" * (tree.MAX_BYTES + 1))))

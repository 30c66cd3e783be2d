"""Judges proto/ with buf: `lint`, and `breaking` against the states that it had in the history of this repository.

A state that was committed may have been generated from by somebody; so the contracts must stay compatible with each
of the last states, not only with the one before. In a shallow clone, that is as far as the clone reaches.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from generate import PROTO, REPOSITORY, image

BUF = Path(sys.executable).with_name("buf")
CONFIGURATION = PROTO / "buf.yaml"
#: Commits that touched proto/ are looked at this far back.
COMMITS = 20


@dataclass(frozen=True, slots=True)
class State:
    """One earlier content of proto/.

    Attributes:
        commit: the newest commit that had it, abbreviated.
        subject: first line of its message.
    """

    commit: str
    subject: str


def git(*arguments: str) -> bytes:
    """Output of a git command in the repository.

    Raises:
        subprocess.CalledProcessError: git failed.
    """
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, check=True, capture_output=True).stdout


def buf(*arguments: str) -> str:
    """What buf has to complain of, or nothing.

    Raises:
        SystemExit: buf is not installed.
    """
    try:
        result = subprocess.run([BUF, *arguments], check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise SystemExit(f"{BUF} is not there; run: make setup") from error
    return (result.stdout + result.stderr).strip() if result.returncode else ""


def earlier_states() -> list[State]:
    """The states of proto/ in the last commits that touched it, newest first, each content once."""
    states: dict[str, State] = {}
    log = git("log", f"--max-count={COMMITS}", "--format=%h%x09%s", "--", "proto").decode()
    for line in log.splitlines():
        commit, _, subject = line.partition("\t")
        try:
            tree = git("rev-parse", "--verify", "--quiet", f"{commit}:proto").decode().strip()
        except subprocess.CalledProcessError:
            continue  # the commit removed the folder
        states.setdefault(tree, State(commit, subject))
    return list(states.values())


def check_against(state: State, current: Path, folder: Path) -> str:
    """What in `current` breaks callers of `state`, or nothing."""
    with zipfile.ZipFile(io.BytesIO(git("archive", "--format=zip", state.commit, "proto"))) as archive:
        archive.extractall(folder / state.commit)
    before = folder / f"{state.commit}.binpb"
    try:
        image(before, folder / state.commit / "proto")
    except SystemExit as error:
        print(f"breaking: proto/ of {state.commit} does not compile, so nobody can depend on it: {error}")
        return ""
    return buf("breaking", str(current), "--against", str(before), "--config", str(CONFIGURATION))


def breaking(current: Path, folder: Path) -> int:
    """Compares with every earlier state; prints each break with the commit that it breaks."""
    try:
        states = earlier_states()
    except (subprocess.CalledProcessError, FileNotFoundError):
        print("breaking: no git history here, nothing to compare with")
        return 0
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda state: check_against(state, current, folder), states))
    broken = 0
    for state, answer in zip(states, answers, strict=True):
        if answer:
            broken += 1
            print(
                f"breaking: what was generated from {state.commit} ({state.subject}) no longer works:\n{answer}",
                file=sys.stderr,
            )
    print(f"breaking: {len(states)} earlier states of proto/ compared, {broken} broken")
    return 1 if broken else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=["lint", "breaking"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        current = folder / "current.binpb"
        image(current)
        if arguments.check == "breaking":
            return breaking(current, folder)
        answer = buf("lint", str(current), "--config", str(CONFIGURATION))
        if answer:
            print(answer, file=sys.stderr)
        return 1 if answer else 0


if __name__ == "__main__":
    sys.exit(main())

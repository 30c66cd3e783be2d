"""Rules of the tree that no other tool knows: `python tools/tree.py [FILE…]`, by default every file that git knows.

- Locks are exact: each requirement is `name==version` with hashes; nothing names a package index or an address to
  download from, so that every site installs from where it installs everything else.
- No file names a folder of somebody's machine, holds a private key, or is larger than a reader wants to clone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
#: Larger files are data or builds; neither belongs in the tree.
MAX_BYTES = 1 << 20

LOCK_NAMES = re.compile(r"(^|/)requirements[\w.-]*\.txt$|^tools/(build|uv)\.txt$")
FOREIGN_LOCKS = {"uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock", "pylock.toml"}
REQUIREMENT = re.compile(r"^[a-z0-9][a-z0-9._-]*(\[[a-z0-9,._-]+\])?==[^\s;]+( ; [^\\]+)?$", re.IGNORECASE)
HASH = re.compile(r"^--hash=sha256:[0-9a-f]{64}$")

#: Written so that this file names none itself.
INDEX_HOSTS = re.compile(
    r"files\.python[h]osted\.org|py[p]i\.org/simple|--(extra-)?index-url|--find-links|--trusted-host"
)
#: Folders of one machine. /home/nonroot and the like inside images are named by their user and are not meant.
PRIVATE_PATHS = re.compile(r"(?<![\w./-])/(work|root|Users/\w+|home/(?!runner\b|nonroot\b)\w+)/[\w.-]+")
PRIVATE_KEYS = re.compile(r"-----BEGIN (\w+ )*PRIVATE KEY-----\s*\n[A-Za-z0-9+/=]{20}")


def tracked_files() -> list[str]:
    """Every file that is in git or would be added to it; without git, every file outside hidden folders."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY, check=True, capture_output=True,
        ).stdout.decode()  # fmt: skip
    except (subprocess.CalledProcessError, FileNotFoundError):
        paths = (path.relative_to(REPOSITORY) for path in REPOSITORY.rglob("*") if path.is_file())
        return sorted(str(path) for path in paths if not any(part.startswith(".") for part in path.parts[:-1]))
    return sorted({name for name in listed.split("\0") if name and (REPOSITORY / name).is_file()})


def requirements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each logical line of a requirements file with its number, as words: the requirement, then its options."""
    joined, first = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not joined:
            first = number
        joined += line.strip().removesuffix("\\")
        if line.rstrip().endswith("\\"):
            continue
        if joined and not joined.startswith("#"):
            head, *hashes = re.split(r"\s+(?=--)", joined.strip())
            yield first, [head, *hashes]
        joined = ""


def lock_problems(name: str, text: str) -> Iterator[str]:
    """What in a lock file is not an exact, hashed requirement."""
    for number, (head, *options) in requirements(text):
        if not REQUIREMENT.match(head):
            yield f"{name}:{number}: got '{head}'; expected name==version and nothing that says where to get it"
        elif not options:
            yield f"{name}:{number}: '{head}' has no hash; run: make lock"
        for option in options:
            if not HASH.match(option):
                yield f"{name}:{number}: got '{option}'; only --hash=sha256:… may follow a requirement"


def text_problems(name: str, text: str) -> Iterator[str]:
    """What no text file may hold, with the line where it stands."""
    for pattern, what in (
        (INDEX_HOSTS, "names a package index"),
        (PRIVATE_PATHS, "names a folder of one machine"),
        (PRIVATE_KEYS, "holds a private key"),
    ):
        for match in pattern.finditer(text):
            number = text.count("\n", 0, match.start()) + 1
            yield f"{name}:{number}: '{match.group().splitlines()[0]}' {what}"


def problems(name: str, data: bytes) -> Iterator[str]:
    """Everything that is wrong with one file."""
    if len(data) > MAX_BYTES:
        yield f"{name}: {len(data)} bytes; files above {MAX_BYTES} do not belong in the tree"
    if Path(name).name in FOREIGN_LOCKS:
        yield f"{name}: such locks name download addresses and stay out; the locks are requirements.txt (make lock)"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return
    if LOCK_NAMES.search(name):
        yield from lock_problems(name, text)
    if name != Path(__file__).relative_to(REPOSITORY).as_posix():
        yield from text_problems(name, text)


def main() -> int:
    names = sys.argv[1:] or tracked_files()
    found = [problem for name in names for problem in problems(name, (REPOSITORY / name).read_bytes())]
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"tree: {len(names)} files, {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""The process that opens uploaded models: ``python -m securenet_registry.uploads.inspector FOLDER``.

It takes limits on itself before anything else: memory, processor time, size of files, no new processes and no core
files. It reads its request from standard input and answers one JSON object.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any


def main(folder: Path) -> int:
    """Checks the file that the request names."""
    request = json.load(sys.stdin)
    _limit(int(request["seconds"]), int(request["memory"]))
    # Loaded under the limits; and a refusal is an answer, while anything else ends the process.
    from securenet_registry.uploads.checks import Refused, check  # noqa: PLC0415 - see above

    answer: dict[str, Any]
    try:
        answer = {"details": check(folder, request["file"], request["schema_hash"])}
    except Refused as refused:
        answer = {"refusal": str(refused)}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    return 0


def _limit(seconds: int, memory: int) -> None:
    for what, bound in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, max(seconds, 1)),
        (resource.RLIMIT_FSIZE, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 256),
    ):
        resource.setrlimit(what, (bound, bound))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

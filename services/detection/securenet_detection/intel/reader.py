"""The process that reads a large feed: ``python -m securenet_detection.intel.reader FOLDER`` with the feed as input."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

from securenet_detection.intel.reading import ANSWER, REQUEST, answer

#: Calls that come meanwhile go first.
_NICE: Final = 10


def main(folder: Path) -> int:
    """Reads what the request in the folder describes, and leaves the answer there."""
    os.nice(_NICE)
    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    found = answer(folder, request, sys.stdin.buffer.read())
    (folder / ANSWER).write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

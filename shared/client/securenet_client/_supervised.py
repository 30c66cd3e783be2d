"""Runs a service as a child that ends with its parent: python -m securenet_client._supervised MODULE.

The parent holds the other end of standard input. When it is gone, however it went, the read ends and the service is
asked to stop as by SIGTERM; so no service is left behind by a killed command.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _follow_parent() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Becomes the module that the first argument names."""
    module = sys.argv.pop(1)
    threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

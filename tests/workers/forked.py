"""Stands in for the entry point of a worker: says what it found, then ends as its command line asks."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path


class main:  # noqa: N801 - as the command of the entry point is named
    """The command, with its function as click keeps it."""

    @staticmethod
    def main() -> None:
        """Write the report, then exit, fail or wait."""
        report, ending = sys.argv[1:]
        found = {
            "argv": sys.argv[1:],
            "environment": dict(os.environ),
            "folder": str(Path.cwd()),
            "session": os.getsid(0),
            "terminate": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
            "hangup": signal.getsignal(signal.SIGHUP) == signal.SIG_DFL,
            "wakeup": signal.set_wakeup_fd(-1),
        }
        whole = Path(report).with_suffix(".part")
        whole.write_text(json.dumps(found))
        whole.replace(report)
        if ending == "wait":
            signal.pause()
        if ending == "fail":
            raise RuntimeError("it fails")
        sys.exit(int(ending))

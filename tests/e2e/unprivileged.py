"""Runs a program for which the modes of files count, even when root starts it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

# CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
_POWERS = (1, 2, 3)
_PR_CAPBSET_DROP = 24

#: What to put before a command.
THROUGH = (sys.executable, "-m", "tests.e2e.unprivileged")


def modes_count(folder: Path) -> bool:
    """Whether a program started so is really kept from writing where modes forbid it."""
    closed = folder / "closed"
    closed.mkdir(mode=0o555)
    done = subprocess.run([*THROUGH, "touch", str(closed / "file")], capture_output=True, check=False)
    closed.chmod(0o755)
    return done.returncode != 0


def main() -> None:
    """Give up the powers and become the program."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for power in _POWERS:
            if libc.prctl(_PR_CAPBSET_DROP, power, 0, 0, 0) != 0:
                sys.exit(f"cannot give up power {power}")
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()

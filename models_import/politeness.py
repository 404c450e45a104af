"""An import gives way to whoever answers requests on the same machine."""

from __future__ import annotations

import os
import runpy
import sys
from contextlib import suppress
from pathlib import Path

_LOW = 10


def give_way() -> None:
    """Let this process, and those it will start, take a tenth of what others take who want the processor.

    Less would starve an import beside a service that is never idle.

    Where Linux shares the processor between sessions first (autogroup), a process's own priority counts
    only within its session; so a process that leads one lowers that, too, and nobody else's.
    """
    with suppress(OSError, AttributeError):
        os.nice(_LOW)
    with suppress(OSError, AttributeError):
        if os.getsid(0) == os.getpid():
            Path("/proc/self/autogroup").write_text(str(_LOW))


def main() -> None:
    """`python -m models_import.politeness MODULE ARGUMENT…`: give way, then be that module."""
    give_way()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

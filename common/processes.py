from __future__ import annotations

import os


def alive(pid: int) -> bool:
    """Whether a process with this pid exists, of any user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

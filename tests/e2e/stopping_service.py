"""The service, whose workers can be stopped or killed between any two steps of a swap or a promotion.

A file `<step>.<SIGNAL>` in the folder that TEST_STOPS names arms one stop: the first worker that comes to
that step takes the file, leaves `<step>.<pid>` behind and sends itself the signal.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hotswap.control import Control
from hotswap.slot import Slot
from registry.file_store import DesiredFile
from registry.model_registry import ModelRegistry
from registry.registry_audit import RegistryAudit
from runners.loader import OnnxLoader
from runners.onnx_runner import OnnxRunner
from service import Okawari
from workers.coordinator import SharedCoordinator

__all__ = ["Okawari"]

_STOPS = Path(os.environ["TEST_STOPS"])

#: Method → the steps just before and just after it.
_METHODS: dict[tuple[type, str], tuple[str, str]] = {
    (OnnxLoader, "load"): ("before-load", "after-load"),
    (OnnxRunner, "warm"): ("before-warm", "after-warm"),
    (OnnxRunner, "check"): ("before-check", "after-check"),
    (SharedCoordinator, "propose"): ("before-propose", "after-propose"),
    (SharedCoordinator, "decide"): ("before-decide", "after-decide"),
    (SharedCoordinator, "reach"): ("before-reach", "after-reach"),
    (Slot, "_publish"): ("before-switch", "after-switch"),
    (DesiredFile, "edit"): ("before-remember", "after-remember"),
    (ModelRegistry, "activate"): ("before-record", "after-record"),
    (Control, "_edit"): ("before-target", "after-target"),
    (ModelRegistry, "record_switch"): ("before-who-served", "after-who-served"),
    (RegistryAudit, "write"): ("before-audit", "after-audit"),
}


def _stop(step: str) -> None:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        armed = _STOPS / f"{step}.{number.name}"
        try:
            armed.rename(_STOPS / f"{step}.{os.getpid()}")
        except FileNotFoundError:
            continue
        os.kill(os.getpid(), number)


def _stopping(method: Callable[..., Any], before: str, after: str) -> Callable[..., Any]:
    def stopping(*words: Any, **named: Any) -> Any:
        _stop(before)
        result = method(*words, **named)
        _stop(after)
        return result

    return stopping


for (kind, name), (before, after) in _METHODS.items():
    setattr(kind, name, _stopping(getattr(kind, name), before, after))

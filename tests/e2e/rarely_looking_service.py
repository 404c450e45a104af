"""The service, whose process manager by itself looks once an hour: what it notices sooner it was told of."""

from __future__ import annotations

from typing import Any

from circus.controller import Controller

from service import Okawari

__all__ = ["Okawari"]

_HOUR = 3_600_000.0


def _rarely(start: Any) -> Any:
    def started(controller: Controller) -> None:
        controller.check_delay = _HOUR
        start(controller)

    return started


Controller.start = _rarely(Controller.start)

"""An edit of a model's wish that a later one has overtaken: waiting for what comes of it is in vain."""

from __future__ import annotations

from hotswap.desired import Wish
from hotswap.errors import Overtaken


def check_not_overtaken(name: str, made: Wish, now: Wish | None) -> None:
    """Raise `Overtaken` if `now`, what was read last, is a later wish than `made` and another one.

    Who wishes the same again takes nothing from whoever wished it before.
    """
    if now is None or now.revision <= made.revision:
        return
    if (now.target, now.unloaded) != (made.target, made.unloaded):
        raise Overtaken(f"{_meant(name, made)} was overtaken: {_wished(name, now)}")


def _meant(name: str, wish: Wish) -> str:
    return f"unloading {name}" if wish.unloaded else f"{name}:{wish.target}"


def _wished(name: str, now: Wish) -> str:
    said = "wants it unloaded" if now.unloaded else f"wants {name}:{now.target}"
    reason = f" ({now.reason})" if now.reason else ""
    return f"since revision {now.revision} {now.actor or 'somebody'} {said}{reason}"

"""The settings of a ModelMora deployment, as further names of ours. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

PREFIX = "MODEMORA_"
#: Variables that a command reads, and the service does not.
OF_COMMANDS = frozenset({f"{PREFIX}SUBSCRIBE_TO_EVENTS"})
_SIMILARITY = 0.5
_GPU_ENABLED = f"{PREFIX}GPU_ENABLED"
_GPU_DEVICE_ID = f"{PREFIX}GPU_DEVICE_ID"
_YES = frozenset({"1", "true", "yes", "on", "y", "t"})
_NO = frozenset({"0", "false", "no", "off", "n", "f"})


@dataclass(frozen=True, slots=True)
class AliasedValue:
    """A value for one of our settings, and the variable that gave it."""

    variable: str
    value: str


class BadAlias(ValueError):
    """A value of such a variable that cannot be; the message names the variable and what is allowed."""


def _same(text: str) -> str:
    return text


def _megabytes(text: str) -> str:
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) is None:
        raise ValueError("must be a number of megabytes")
    return f"{text}MB"


#: Variable without prefix → our setting, and how its value is written there.
_TRANSLATIONS: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "REST_PORT": ("port", _same),
    "GRPC_PORT": ("grpc_port", _same),
    "MAX_MODEL_MEMORY_MB": ("memory_budget", _megabytes),
    "AUTO_WARMUP": ("warm_up", _same),
    "MAX_CONCURRENT_REQUESTS": ("max_concurrent_requests", _same),
    "REQUEST_TIMEOUT_SEC": ("request_timeout", _same),
    "BATCH_SIZE": ("batch_size", _same),
    "NUM_WORKERS": ("workers", _same),
    "MODEL_CACHE_DIR": ("okawari_home", _same),
    "LOG_LEVEL": ("log_level", str.upper),
    "ENABLE_TRACING": ("tracing", _same),
    "PROMETHEUS_PORT": ("metrics_port", _same),
    "MODEL_REGISTRY_PATH": ("model_registry", _same),
}
#: Every variable that has a meaning here, and the setting that it sets.
ALIASES: Mapping[str, str] = {
    **{f"{PREFIX}{name}": setting for name, (setting, _) in _TRANSLATIONS.items()},
    _GPU_ENABLED: "device",
    _GPU_DEVICE_ID: "device",
}


def aliased(variables: Mapping[str, str]) -> dict[str, AliasedValue]:
    """The settings that these variables (names in capitals) set. Raises `BadAlias`."""
    found = {}
    for name, (setting, translated) in _TRANSLATIONS.items():
        variable = f"{PREFIX}{name}"
        if variable in variables:
            found[setting] = AliasedValue(variable, _checked(variable, variables[variable], translated))
    if device := _device(variables):
        found["device"] = device
    return found


def _device(variables: Mapping[str, str]) -> AliasedValue | None:
    """Without the switch, or with it on, the number of a GPU counts."""
    enabled, number = variables.get(_GPU_ENABLED), variables.get(_GPU_DEVICE_ID)
    if enabled is not None and not _checked(_GPU_ENABLED, enabled, _switch):
        return AliasedValue(_GPU_ENABLED, "cpu")
    if number is not None:
        return AliasedValue(_GPU_DEVICE_ID, f"cuda:{_checked(_GPU_DEVICE_ID, number, _gpu)}")
    return None if enabled is None else AliasedValue(_GPU_ENABLED, "auto")


def _switch(text: str) -> str:
    """Empty for off."""
    if text.lower() not in _YES | _NO:
        raise ValueError("must be true or false")
    return "on" if text.lower() in _YES else ""


def _gpu(text: str) -> str:
    if re.fullmatch(r"[0-9]{1,2}", text) is None:
        raise ValueError("must be the number of a GPU, 0 to 99")
    return str(int(text))


def _checked(variable: str, value: str, translated: Callable[[str], str]) -> str:
    try:
        return translated(value.strip())
    except ValueError as error:
        raise BadAlias(f"{variable}: {error}, found {value[:80]!r}") from None


def unknown_alias(name: str, ours: Iterable[str]) -> str | None:
    """What is to be said of a variable with the prefix; None for one that has a meaning.

    `ours` are our own settings' variables, which are named where they are nearer.
    """
    upper = name.upper()
    if upper in ALIASES or upper in OF_COMMANDS:
        return None
    bare = upper.removeprefix(PREFIX)
    names = {**{each.removeprefix("OKAWARI_"): each for each in ours}}
    names |= {each.removeprefix(PREFIX): each for each in (*ALIASES, *OF_COMMANDS)}
    similar = difflib.get_close_matches(bare, names, 1, _SIMILARITY)
    hint = f"; did you mean {names[similar[0]]}?" if similar else "; see docs/guides/modelmora.md"
    return f"{name}: unknown setting, ignored{hint}"

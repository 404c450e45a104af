"""Every setting of the service, read once, by the composition roots, into one frozen object.

Sources, the first wins: environment variables, `okawari.toml` in the working folder, the defaults.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

_EMBEDDED_HOME = Path("var")
#: A file that master and workers find alike: they read settings in one folder, and then run in others.
_File = Annotated[Path, AfterValidator(Path.absolute)]

_PREFIX = "OKAWARI_"
#: Variables of ours that no setting reads: docker-compose.yml, scripts and tests do.
BESIDE_THE_SETTINGS = tuple(
    f"{_PREFIX}{name}" for name in ("BIND", "CERTS", "DATA", "DROP", "IMAGE", "PROVE", "TEST_DATA")
)
#: Least likeness of a name that may have been meant.
_ALIKE = 0.5
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def _listed(value: object) -> object:
    """The elements of a list with commas."""
    return [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value


def _origins(found: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if found is None:
        return None
    if "*" in found and len(found) > 1:
        raise ValueError("* allows every origin: leave the others out, or the *")
    return tuple(each if each == "*" else _origin(each) for each in found)


def _origin(text: str) -> str:
    """An origin as browsers send it: in lower case, without the port that its scheme has anyway."""
    parts = _ORIGIN.fullmatch(text.lower())
    if parts is None or int(parts[3] or 0) > 65535:
        raise ValueError(
            f"{text!r} is no origin: write scheme://host or scheme://host:port, without a path, such as "
            "http://camera.local:8000; several with commas; or * alone for every page"
        )
    scheme, host, port = parts.groups()
    return f"{scheme}://{host}" + (f":{port}" if port and port != _DEFAULT_PORTS.get(scheme) else "")


def _plain(name: str) -> AliasChoices:
    """A setting whose environment variable has no prefix of ours, as `PORT`."""
    return AliasChoices(name.upper(), name)


class Settings(BaseSettings):
    """One field, one setting: `OKAWARI_<FIELD>` in the environment unless said otherwise."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, toml_file="okawari.toml", frozen=True, extra="forbid", env_ignore_empty=True
    )

    port: Annotated[int, Field(validation_alias=_plain("port"), ge=0, le=65535)] = 3000
    grpc_port: Annotated[int, Field(validation_alias=_plain("grpc_port"), ge=0, le=65535)] = 50051
    workers: Annotated[int, Field(validation_alias=_plain("workers"), ge=1, le=64)] = 1
    okawari_home: Annotated[Path | None, Field(validation_alias=_plain("okawari_home"))] = None
    bentoml_home: Annotated[Path | None, Field(validation_alias=_plain("bentoml_home"))] = None

    serve: str = "*"
    default_model: str | None = None
    admin_token: Annotated[str | None, Field(repr=False)] = None
    insecure: bool = False
    grpc_tls_cert: _File | None = None
    grpc_tls_key: _File | None = None
    grpc_tls_client_ca: _File | None = None
    cors_origins: Annotated[
        tuple[str, ...] | None, NoDecode, BeforeValidator(_listed), AfterValidator(_origins)
    ] = None

    threads: Annotated[int | None, Field(ge=1, le=256)] = None
    max_concurrent_requests: Annotated[int, Field(ge=1, le=10_000)] = 100
    request_timeout: Annotated[float, Field(gt=0, le=3600)] = 30.0
    header_timeout: Annotated[float, Field(gt=0, le=3600)] = 20.0
    swap_timeout: Annotated[float, Field(gt=0, le=3600)] = 30.0
    start_timeout: Annotated[float, Field(ge=0, le=3600)] = 20.0
    poll_interval: Annotated[float, Field(gt=0, le=60)] = 0.5
    max_body_bytes: Annotated[int, Field(ge=1024)] = 10_000_000
    max_stream_message_bytes: Annotated[int, Field(ge=1024)] = 2_000_000
    max_buffered_bytes: Annotated[int, Field(ge=1_000_000)] = 256_000_000
    max_pixels: Annotated[int, Field(ge=1)] = 50_000_000
    model_threads: Annotated[int, Field(ge=1, le=64)] = 1
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before `okawari.toml` before defaults."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.max_buffered_bytes < self.max_body_bytes:
            raise ValueError("max_buffered_bytes must be at least max_body_bytes")
        if self.admin_token is not None and not self.admin_token.strip():
            raise ValueError("admin_token is blank")
        if (self.grpc_tls_cert is None) != (self.grpc_tls_key is None):
            raise ValueError("grpc_tls_cert and grpc_tls_key belong together: set both, or none")
        if self.grpc_tls_client_ca is not None and self.grpc_tls_cert is None:
            raise ValueError(
                "grpc_tls_client_ca is for clients over TLS: set grpc_tls_cert and grpc_tls_key, too"
            )
        return self

    @cached_property
    def home(self) -> Path:
        """Where state, run files and logs lie (`OKAWARI_HOME`)."""
        return (self.okawari_home or self.bentoml_home or _EMBEDDED_HOME).absolute()

    @cached_property
    def store_home(self) -> Path:
        """The home of the model store (`BENTOML_HOME`); models lie in its `models` folder."""
        return (self.bentoml_home or self.okawari_home or _EMBEDDED_HOME).absolute()

    @property
    def models(self) -> Path:
        """The model store."""
        return self.store_home / "models"

    @cached_property
    def thread_count(self) -> int:
        """Threads that run models in one worker: the cores shared between the workers."""
        return self.threads or max(1, -(-_cores() // self.workers))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load(*, tell: bool = True) -> Settings:
    """The settings, or the end of the program with one line a finding: variable, value, what is allowed.

    With `tell`, variables that look like settings and are none are told on stderr.
    """
    try:
        read = Settings()
    except ValueError as error:
        raise SystemExit("\n".join(f"okawari: {finding}" for finding in findings(error))) from None
    if tell:
        for line in unknown(os.environ):
            print(f"okawari: warning: {line}", file=sys.stderr)
    return read


def unknown(variables: Iterable[str]) -> list[str]:
    """A line for each variable that has our prefix and that nothing of ours reads: what may be meant."""
    known = [*map(_variable, ((name,) for name in Settings.model_fields)), *BESIDE_THE_SETTINGS]
    ours = sorted({name for name in variables if name.upper().startswith(_PREFIX)})
    return [
        f"{name}: there is no such setting, it is passed over{_nearest(name, known)}"
        for name in ours
        if name.upper() not in known
    ]


def _nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like another one, whatever prefix and case it has."""
    bare = {each.upper().removeprefix(_PREFIX): each for each in known}
    wanted = name.upper().removeprefix(_PREFIX)
    if wanted in bare:
        return f"; it is {bare[wanted]}"
    alike = difflib.get_close_matches(wanted, bare, 1, _ALIKE)
    return f"; the nearest is {bare[alike[0]]}" if alike else "; docs/guides/settings.md lists them all"


def findings(error: ValueError) -> list[str]:
    """What is wrong with which variable, and its value where it is no secret; or with `okawari.toml`."""
    if not isinstance(error, ValidationError):
        return [f"okawari.toml cannot be read: {error}"]
    return [
        _stranger(item["loc"])
        if item["type"] == "extra_forbidden"
        else f"{_variable(item['loc'])}: {item['msg'].removeprefix('Value error, ')}"
        f"{_value(item['loc'], item['input'])}"
        for item in error.errors()
    ]


def _stranger(place: tuple[int | str, ...]) -> str:
    """What is said of a key in the file; not its value, which may be a secret with a slip in its name."""
    name = str(place[0])
    return f"okawari.toml: {name[:64]!r}: there is no such setting{_nearest(name, Settings.model_fields)}"


def _value(place: tuple[int | str, ...], given: object) -> str:
    secret = not place or "admin_token" in str(place[0]).lower()
    return "" if secret else f"; it is {given!r}"


def _variable(place: tuple[int | str, ...]) -> str:
    """The environment variable of a field, or of what pydantic says in its place."""
    name = str(place[0]) if place else "settings"
    field = Settings.model_fields.get(name.lower())
    plain = field is None or field.validation_alias is not None
    return name.upper() if plain else f"{_PREFIX}{name.upper()}"

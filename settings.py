"""Every setting of the service, read once, by the composition roots, into one frozen object.

Sources, the first wins: environment variables, `okawari.toml` in the working folder, the defaults.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

_EMBEDDED_HOME = Path("var")
#: A file that master and workers find alike: they read settings in one folder, and then run in others.
_File = Annotated[Path, AfterValidator(Path.absolute)]


def _plain(name: str) -> AliasChoices:
    """A setting whose environment variable has no prefix of ours, as `PORT`."""
    return AliasChoices(name.upper(), name)


class Settings(BaseSettings):
    """One field, one setting: `OKAWARI_<FIELD>` in the environment unless said otherwise."""

    model_config = SettingsConfigDict(
        env_prefix="OKAWARI_", toml_file="okawari.toml", frozen=True, extra="ignore", env_ignore_empty=True
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

    threads: Annotated[int | None, Field(ge=1, le=256)] = None
    max_concurrent_requests: Annotated[int, Field(ge=1, le=10_000)] = 100
    request_timeout: Annotated[float, Field(gt=0, le=3600)] = 30.0
    header_timeout: Annotated[float, Field(gt=0, le=3600)] = 20.0
    swap_timeout: Annotated[float, Field(gt=0, le=3600)] = 30.0
    start_timeout: Annotated[float, Field(ge=0, le=3600)] = 20.0
    poll_interval: Annotated[float, Field(gt=0, le=60)] = 0.5
    max_body_bytes: Annotated[int, Field(ge=1024)] = 10_000_000
    max_buffered_bytes: Annotated[int, Field(ge=1_000_000)] = 256_000_000
    max_pixels: Annotated[int, Field(ge=1)] = 50_000_000
    load_threads: Annotated[int, Field(ge=1, le=64)] = 1
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


def load() -> Settings:
    """The settings, or the end of the program with one line a finding: variable, value, what is allowed."""
    try:
        return Settings()
    except ValueError as error:
        raise SystemExit("\n".join(f"okawari: {finding}" for finding in findings(error))) from None


def findings(error: ValueError) -> list[str]:
    """What is wrong with which variable, and its value where it is no secret; or with `okawari.toml`."""
    if not isinstance(error, ValidationError):
        return [f"okawari.toml cannot be read: {error}"]
    found = ((item["loc"], item["msg"], item["input"]) for item in error.errors())
    return [
        f"{_variable(place)}: {said.removeprefix('Value error, ')}{_value(place, given)}"
        for place, said, given in found
    ]


def _value(place: tuple[int | str, ...], given: object) -> str:
    secret = not place or "admin_token" in str(place[0]).lower()
    return "" if secret else f"; it is {given!r}"


def _variable(place: tuple[int | str, ...]) -> str:
    name = str(place[0]) if place else "settings"
    plain = name.isupper() or name.lower() in ("port", "grpc_port", "workers")
    return name.upper() if plain or not place else f"OKAWARI_{name.upper()}"

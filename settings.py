"""All settings, read once by the composition roots into one frozen object.

Sources, in order of precedence: environment variables, `.env` and `okawari.toml` in the working folder, the
keys of `config.yaml` that are settings, too (`CONFIGURED`), defaults. Variables of a ModelMora deployment are
further names of some settings.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from common.quotas import Quota, quota_of
from common.setting_aliases import PREFIX as MODELMORA_PREFIX
from common.setting_aliases import AliasedValue, BadAlias, aliased, unknown_alias
from common.sizes import MemoryAmount, memory_amount
from common.url_prefix import is_own, url_prefix
from config_file import BadConfig, Config, load_config

_EMBEDDED_HOME = Path("var")
#: A file path made absolute: the settings are read in one folder, but the workers run in another.
_File = Annotated[Path, AfterValidator(Path.absolute)]

_PREFIX = "OKAWARI_"
_ENV_FILE = Path(".env")
_LONGEST_ENV_FILE = 1_000_000
#: Variables with our prefix that are not settings; docker-compose.yml, scripts, tests and clients read them.
BESIDE_THE_SETTINGS = tuple(
    f"{_PREFIX}{name}"
    for name in (
        *("BIND", "CERTS", "DATA", "DROP", "IMAGE", "GPU_IMAGE"),
        *("CONTRACT_GRPC", "CONTRACT_IMPORT", "CONTRACT_URL", "FLINK_JARS", "PROVE", "TEST_DATA", "TOKEN"),
    )
)
#: What `serve` says for all models of the store.
SERVE_ALL = "*"
#: Minimum similarity of a suggested name.
_SIMILARITY = 0.5
#: Setting → the key of `config.yaml` that sets it, too.
CONFIGURED = {
    "port": "server.port",
    "workers": "server.workers",
    "device": "model.device",
    "auth_required_for_predict": "auth.required_for_predict",
    "log_level": "observability.logging.level",
    "tracing": "observability.tracing.enabled",
    "tracing_endpoint": "observability.tracing.endpoint",
}
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
_WEB_ADDRESS = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")
#: Providers that may be asked without TLS: those on this machine.
_LOOPBACK = re.compile(r"http://(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?(/.*)?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def _listed(value: object) -> object:
    """The elements of a comma-separated list."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def _amount(value: object) -> object:
    """An amount of memory, as a variable or a file writes it."""
    return memory_amount(value) if isinstance(value, str | int) else value


def _quota(value: object) -> object:
    """A quota, as a variable or a file writes it."""
    return quota_of(value) if isinstance(value, str) else value


def _web_address(text: str | None) -> str | None:
    """The address of a provider: http or https, without user, query and fragment."""
    if text is not None and _WEB_ADDRESS.fullmatch(text) is None:
        raise ValueError("write an address such as https://id.example.org/realms/cameras")
    return text


_WebAddress = Annotated[str | None, AfterValidator(_web_address)]
#: Of public keys alone: who may check a token may not make one.
_Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]  # fmt: skip
_Quota = Annotated[Quota | None, NoDecode, BeforeValidator(_quota)]


def _origins(origins: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if origins is None:
        return None
    if "*" in origins and len(origins) > 1:
        raise ValueError("* allows every origin: remove the other origins, or the *")
    return tuple(origin if origin == "*" else _origin(origin) for origin in origins)


def _origin(text: str) -> str:
    """An origin as browsers send it: in lower case, without the default port of its scheme."""
    parts = _ORIGIN.fullmatch(text.lower())
    if parts is None or int(parts[3] or 0) > 65535:
        raise ValueError(
            f"{text!r} is not an origin: write scheme://host or scheme://host:port, without a path, such as "
            "http://camera.local:8000; separate several by commas; or write * for every origin"
        )
    scheme, host, port = parts.groups()
    return f"{scheme}://{host}" + (f":{port}" if port and port != _DEFAULT_PORTS.get(scheme) else "")


def _networks(proxies: tuple[str, ...] | None) -> tuple[str, ...] | None:
    for proxy in proxies or ():
        try:
            ip_network(proxy)
        except ValueError as error:
            raise ValueError(
                f"{error}; write addresses and networks such as 10.0.0.7 or 10.0.0.0/24, separated by commas"
            ) from None
    return proxies


def _root_path(text: str | None) -> str | None:
    prefix = url_prefix(text or "")
    if is_own(prefix):
        raise ValueError(f"the service has paths of its own that begin with {prefix}: choose another prefix")
    return prefix or None


def _plain(name: str) -> AliasChoices:
    """The alias of a setting whose environment variable has no prefix, such as `PORT`."""
    return AliasChoices(name.upper(), name)


class BadVariables(ValueError):
    """Variables that cannot be used; `findings` has a line for each, without secrets."""

    def __init__(self, findings: Iterable[str]) -> None:
        self.findings = tuple(findings)
        super().__init__("; ".join(self.findings))


class _VariableSource(EnvSettingsSource):
    """Variables, by our names and by those of a ModelMora deployment; the two must not contradict."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Mapping[str, str | None]) -> None:
        super().__init__(settings_cls)
        self._given = {name.upper(): value for name, value in variables.items() if value}
        self.env_vars = {name.lower(): value for name, value in self._given.items()}

    def __call__(self) -> dict[str, Any]:
        """The values by field. Raises `BadVariables`."""
        found = super().__call__()
        try:
            others = aliased(self._given)
        except BadAlias as error:
            raise BadVariables([str(error)]) from None
        wrong = []
        for setting, other in others.items():
            key = setting.upper() if Settings.model_fields[setting].validation_alias else setting
            meant = found.setdefault(key, other.value)
            if problem := _problem(setting, meant, other, self._given[other.variable]):
                wrong.append(f"{other.variable}: {problem}")
        if wrong:
            raise BadVariables(wrong)
        return found


def _problem(setting: str, ours: Any, other: AliasedValue, written: str) -> str | None:
    """What is wrong with another name's value, by itself or beside that of our name; None: nothing."""
    field = TypeAdapter(Settings.model_fields[setting].rebuild_annotation())
    try:
        value = field.validate_python(other.value)
    except ValidationError as error:
        return f"{error.errors()[0]['msg'].removeprefix('Value error, ')}, found {written!r}"
    try:
        same = field.validate_python(ours) == value
    except ValidationError:
        return None  # the error of ours is told by itself
    name = _variable((setting,))
    return None if same else f"{written!r} contradicts {name}, which is {ours!r}: set one of the two"


def _env_file() -> dict[str, str | None]:
    """The variables of `.env`, names in lower case; none without the file. Raises `BadVariables`."""
    try:
        if not _ENV_FILE.is_file():
            return {}
        if _ENV_FILE.stat().st_size > _LONGEST_ENV_FILE:
            raise BadVariables([f"{_ENV_FILE} has more than {_LONGEST_ENV_FILE} bytes"])
        return dict(DotEnvSettingsSource(Settings, env_file=_ENV_FILE).env_vars)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise BadVariables([f"{_ENV_FILE} cannot be read: {reason}"]) from None


class _TomlSource(TomlConfigSettingsSource):
    """The keys of `okawari.toml` that no variable without a prefix, such as `PORT`, has set."""

    def __call__(self) -> dict[str, Any]:
        """The values by field."""
        return {key: value for key, value in super().__call__().items() if not _is_set(self, key)}


class _ConfigFileSource(PydanticBaseSettingsSource):
    """The keys of the configuration file that are settings, too, as far as the file has them."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Unused: the file is read as a whole."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """The values by field. Raises `BadConfig`."""
        where = self.current_state.get("config")
        if not where:
            return {}
        given = load_config(Path(where).absolute(), os.environ).given()
        found = {name: _at(given, path) for name, path in CONFIGURED.items()}
        return {n: value for n, value in found.items() if value is not None and not _is_set(self, n)}


def _is_set(source: PydanticBaseSettingsSource, name: str) -> bool:
    """Whether a source before this one has set it under its alias; both names at once would be an error."""
    return name.upper() in source.current_state


def _at(values: Any, path: str) -> Any:
    """The value at a path such as `server.port`; None where there is none."""
    for name in path.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values


class Settings(BaseSettings):
    """One field per setting. The environment variable is `OKAWARI_<FIELD>`, unless it has an alias."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, toml_file="okawari.toml", frozen=True, extra="forbid", env_ignore_empty=True
    )

    port: Annotated[int, Field(validation_alias=_plain("port"), ge=0, le=65535)] = 3000
    grpc_port: Annotated[int, Field(validation_alias=_plain("grpc_port"), ge=0, le=65535)] = 50051
    workers: Annotated[int, Field(validation_alias=_plain("workers"), ge=1, le=64)] = 1
    okawari_home: Annotated[Path | None, Field(validation_alias=_plain("okawari_home"))] = None
    bentoml_home: Annotated[Path | None, Field(validation_alias=_plain("bentoml_home"))] = None

    config: _File | None = None
    registry: Annotated[str | None, Field(repr=False)] = None
    database: Annotated[str | None, Field(repr=False)] = None
    pictures: str | None = None
    device_rate: Annotated[float, Field(gt=0, le=100_000)] = 10.0
    device_burst: Annotated[float, Field(ge=1, le=1_000_000)] = 100.0
    minio_endpoint: Annotated[str | None, Field(validation_alias=_plain("minio_endpoint"))] = None
    minio_access_key: Annotated[
        str | None, Field(validation_alias=_plain("minio_access_key"), repr=False)
    ] = None
    minio_secret_key: Annotated[
        str | None, Field(validation_alias=_plain("minio_secret_key"), repr=False)
    ] = None
    minio_secure: Annotated[bool, Field(validation_alias=_plain("minio_secure"))] = False
    buckets: str = "imagery-hot"
    events: str | None = None
    team: Annotated[str | None, Field(validation_alias=_plain("team"), max_length=64)] = None
    teams: _File | None = None
    team_root: _File = Path("/app")
    weights_path: Annotated[_File | None, Field(validation_alias=_plain("weights_path"))] = None
    import_roots: Annotated[tuple[Path, ...] | None, NoDecode, BeforeValidator(_listed)] = None
    serve: str = SERVE_ALL
    default_model: str | None = None
    admin_token: Annotated[str | None, Field(repr=False)] = None
    insecure: bool = False
    oidc_issuer: _WebAddress = None
    oidc_audience: Annotated[str | None, Field(max_length=255)] = None
    oidc_jwks_url: _WebAddress = None
    oidc_algorithms: Annotated[
        Annotated[tuple[_Algorithm, ...], Field(min_length=1)] | None, NoDecode, BeforeValidator(_listed)
    ] = None
    oidc_leeway: Annotated[float, Field(ge=0, le=300)] = 30.0
    oidc_keys_lifetime: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    oidc_keys_outage: Annotated[float, Field(ge=0, le=604_800)] = 3600.0
    oidc_organisation_claim: Annotated[str | None, Field(max_length=100)] = None
    auth_required_for_predict: bool = False
    quota_subject: _Quota = None
    quota_organisation: _Quota = None
    quota_device: _Quota = None
    grpc_tls_cert: _File | None = None
    grpc_tls_key: _File | None = None
    grpc_tls_client_ca: _File | None = None
    cors_origins: Annotated[
        tuple[str, ...] | None, NoDecode, BeforeValidator(_listed), AfterValidator(_origins)
    ] = None

    root_path: Annotated[str | None, AfterValidator(_root_path)] = None
    trusted_proxies: Annotated[
        tuple[str, ...] | None, NoDecode, BeforeValidator(_listed), AfterValidator(_networks)
    ] = None
    model_registry: _File | None = None
    memory_budget: Annotated[MemoryAmount | None, NoDecode, BeforeValidator(_amount)] = None
    tracing: bool | None = None
    tracing_endpoint: Annotated[str | None, Field(pattern=r"^https?://[^\s@]+$")] = None
    metrics_port: Annotated[int | None, Field(ge=0, le=65535)] = None
    require_signature: Annotated[tuple[_File, ...] | None, NoDecode, BeforeValidator(_listed)] = None
    pinned: Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_listed)] = None
    minimum_stay: Annotated[float, Field(ge=0, le=3600)] = 0.2
    guard_seconds: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    guard_share: Annotated[float, Field(gt=0, le=1)] = 0.03
    batch_size: Annotated[int | None, Field(ge=1, le=1024)] = None
    warm_up: bool = True
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
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]{1,2})?)$")] = "auto"
    model_threads: Annotated[int, Field(ge=1, le=64)] = 1
    compiled_limit: Annotated[int, Field(ge=0)] = 4_000_000_000
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before `.env` before `okawari.toml` before `config.yaml` before defaults."""
        return (
            init_settings,
            _VariableSource(settings_cls, os.environ),
            _VariableSource(settings_cls, _env_file()),
            _TomlSource(settings_cls),
            _ConfigFileSource(settings_cls),
        )

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.max_buffered_bytes < self.max_body_bytes:
            raise ValueError("max_buffered_bytes must be at least max_body_bytes")
        if self.admin_token is not None and not self.admin_token.strip():
            raise ValueError("admin_token is blank")
        if (self.grpc_tls_cert is None) != (self.grpc_tls_key is None):
            raise ValueError("grpc_tls_cert and grpc_tls_key need each other: set both, or none")
        if self.grpc_tls_client_ca is not None and self.grpc_tls_cert is None:
            raise ValueError("grpc_tls_client_ca needs TLS: set grpc_tls_cert and grpc_tls_key too")
        return self

    @model_validator(mode="after")
    def _sensible_identity(self) -> Self:
        if (self.oidc_issuer is None) != (self.oidc_audience is None):
            raise ValueError("oidc_issuer and oidc_audience need each other: set both, or none")
        if self.oidc_issuer is None:
            if self.quota_subject is not None or self.quota_organisation is not None:
                raise ValueError(
                    "quota_subject and quota_organisation need oidc_issuer: nobody has a name else"
                )
            if self.auth_required_for_predict and self.admin_token is None:
                raise ValueError("auth_required_for_predict needs oidc_issuer, or admin_token")
        for address in (self.oidc_issuer, self.oidc_jwks_url):
            if (
                address
                and address.startswith("http:")
                and not (self.insecure or _LOOPBACK.fullmatch(address))
            ):
                raise ValueError(
                    "oidc_issuer and oidc_jwks_url must be https:// beyond this machine: who answers in the "
                    "provider's place could make tokens; or set insecure"
                )
        return self

    @cached_property
    def home(self) -> Path:
        """The home of state, run folder and logs (`OKAWARI_HOME`)."""
        return (self.okawari_home or self.bentoml_home or _EMBEDDED_HOME).absolute()

    @cached_property
    def store_home(self) -> Path:
        """The home of the model store (`BENTOML_HOME`); the models are in its folder `models`."""
        return (self.bentoml_home or self.okawari_home or _EMBEDDED_HOME).absolute()

    @property
    def models(self) -> Path:
        """The model store."""
        return self.store_home / "models"

    @property
    def compiled(self) -> Path:
        """The cache of compiled graphs."""
        return self.home / "compiled"

    @property
    def registry_location(self) -> str:
        """The model registry: the URL of a database, or the path of a file."""
        return self.registry or str(self.home / "models" / "registry.json")

    @property
    def database_url(self) -> str:
        """The URL of the database of the records of pictures."""
        return self.database or self.detection.database.url or f"sqlite:///{self.home / 'records.db'}"

    @property
    def bucket_names(self) -> tuple[str, ...]:
        """The buckets from which pictures of messages are read."""
        return tuple(name for each in self.buckets.split(",") if (name := each.strip()))

    @property
    def team_list(self) -> Path | None:
        """The list of teams: that of the setting, or the one in the team root, or beside this file."""
        usual = (self.team_root / "teams.toml", Path(__file__).with_name("teams.toml"))
        return self.teams or next((path for path in usual if path.is_file()), None)

    @cached_property
    def detection(self) -> Config:
        """The configuration of the detection server; its defaults without a file. Raises `BadConfig`."""
        return load_config(self.config, os.environ)

    @property
    def listen(self) -> dict[str, str | int]:
        """Where the settings let HTTP listen: nothing of what they leave open.

        Options of `bentoml serve` come before it.
        """
        if self.config is not None:
            return {"host": self.detection.server.host, "port": self.port}
        return {"port": self.port} if "port" in self.model_fields_set else {}

    @property
    def pictures_location(self) -> str:
        """Where pictures of devices are kept: a folder, s3://bucket/prefix or lakefs://repository/branch."""
        lakefs = self.detection.lakefs
        if self.pictures is None and lakefs.endpoint is not None:
            return f"lakefs://{lakefs.repository}/{lakefs.branch}"
        return self.pictures or str(self.home / "pictures")

    @cached_property
    def thread_count(self) -> int:
        """Threads that run models in one worker; by default the cores divided by the workers."""
        return self.threads or max(1, -(-_cores() // self.workers))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load(*, warn: bool = True) -> Settings:
    """The settings. Ends the program on errors, with a line for each: variable, value, allowed values.

    With `warn`, unknown variables with our prefix are reported on stderr.
    """
    try:
        settings = Settings()
        settings.detection  # noqa: B018 - read now: what it says holds until the end
    except ValueError as error:
        raise SystemExit("\n".join(f"okawari: {finding}" for finding in findings(error))) from None
    if warn:
        for line in unknown(given_names()):
            print(f"okawari: warning: {line}", file=sys.stderr)
    return settings


def given_names() -> set[str]:
    """The names of all variables of the environment and of `.env`. Raises `BadVariables`."""
    return {*os.environ, *map(str.upper, _env_file())}


def unknown(variables: Iterable[str]) -> list[str]:
    """A line for each unknown variable with our prefix or ModelMora's, with the most similar known name."""
    known = [*map(_variable, ((name,) for name in Settings.model_fields)), *BESIDE_THE_SETTINGS]
    names = sorted(set(variables))
    ours = [
        f"{name}: unknown setting, ignored{_nearest(name, known)}"
        for name in names
        if name.upper().startswith(_PREFIX) and name.upper() not in known
    ]
    others = [unknown_alias(name, known) for name in names if name.upper().startswith(MODELMORA_PREFIX)]
    return [*ours, *filter(None, others)]


def _nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the most similar known name, regardless of prefix and case."""
    names = {variable.upper().removeprefix(_PREFIX): variable for variable in known}
    bare = name.upper().removeprefix(_PREFIX)
    if bare in names:
        return f"; use {names[bare]}"
    similar = difflib.get_close_matches(bare, names, 1, _SIMILARITY)
    return f"; did you mean {names[similar[0]]}?" if similar else "; see docs/guides/settings.md"


def findings(error: ValueError) -> list[str]:
    """The errors of the settings, each with its variable, and its value unless it is secret."""
    if isinstance(error, BadConfig | BadVariables):
        return list(error.findings)
    if not isinstance(error, ValidationError):
        return [f"okawari.toml cannot be read: {error}"]
    return [
        _unknown_key(item["loc"])
        if item["type"] == "extra_forbidden"
        else f"{_variable(item['loc'])}: {item['msg'].removeprefix('Value error, ')}"
        f"{_value(item['loc'], item['input'])}"
        for item in error.errors()
    ]


def _unknown_key(place: tuple[int | str, ...]) -> str:
    """The error of an unknown key in the file, without its value, which may be a misspelt secret."""
    name = str(place[0])
    return f"okawari.toml: {name[:64]!r}: unknown setting{_nearest(name, Settings.model_fields)}"


def _value(place: tuple[int | str, ...], value: object) -> str:
    secret = not place or any(name in str(place[0]).lower() for name in ("admin_token", "database", "_key"))
    return "" if secret else f", found {value!r}"


def _variable(place: tuple[int | str, ...]) -> str:
    """The environment variable of an error's location."""
    name = str(place[0]) if place else "settings"
    field = Settings.model_fields.get(name.lower())
    plain = field is None or field.validation_alias is not None
    return name.upper() if plain else f"{_PREFIX}{name.upper()}"

"""ModelMora's variables and `.env`: what they set, what goes before what, and what is said of the rest."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from bootstrap import metrics_port
from common.setting_aliases import ALIASES, OF_COMMANDS
from common.sizes import MemoryAmount
from settings import Settings, load, unknown

#: Variable → a value, the setting that it sets, and what that is then.
SET: dict[str, tuple[str, str, object]] = {
    "MODEMORA_REST_PORT": ("8080", "port", 8080),
    "MODEMORA_GRPC_PORT": ("9", "grpc_port", 9),
    "MODEMORA_MAX_MODEL_MEMORY_MB": ("8192", "memory_budget", MemoryAmount(8_192_000_000)),
    "MODEMORA_AUTO_WARMUP": ("false", "warm_up", False),
    "MODEMORA_GPU_ENABLED": ("false", "device", "cpu"),
    "MODEMORA_GPU_DEVICE_ID": ("1", "device", "cuda:1"),
    "MODEMORA_MAX_CONCURRENT_REQUESTS": ("7", "max_concurrent_requests", 7),
    "MODEMORA_REQUEST_TIMEOUT_SEC": ("12.5", "request_timeout", 12.5),
    "MODEMORA_BATCH_SIZE": ("16", "batch_size", 16),
    "MODEMORA_NUM_WORKERS": ("4", "workers", 4),
    "MODEMORA_MODEL_CACHE_DIR": ("/cache", "okawari_home", Path("/cache")),
    "MODEMORA_LOG_LEVEL": ("debug", "log_level", "DEBUG"),
    "MODEMORA_PROMETHEUS_PORT": ("9100", "metrics_port", 9100),
    "MODEMORA_MODEL_REGISTRY_PATH": (
        "/etc/ModelRegistry.yaml",
        "model_registry",
        Path("/etc/ModelRegistry.yaml"),
    ),
    "MODEMORA_ENABLE_TRACING": ("true", "tracing", True),
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours = ("PORT", "WORKERS", "GRPC_PORT", "BENTOML_HOME", "MINIO_ACCESS_KEY")
    for name in [each for each in os.environ if each.startswith(("OKAWARI_", "MODEMORA_"))]:
        monkeypatch.delenv(name)
    for name in ours:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def _variable(setting: str) -> str:
    plain = Settings.model_fields[setting].validation_alias is not None
    return setting.upper() if plain else f"OKAWARI_{setting.upper()}"


def test_every_alias_is_tried_here() -> None:
    assert SET.keys() == ALIASES.keys()


def test_the_guide_has_each_alias_with_our_name() -> None:
    text = (Path(__file__).parent.parent / "docs" / "guides" / "modelmora.md").read_text()
    rows = dict(re.findall(r"^\| `(MODEMORA_\w+)` \| `(\w+)` \|", text, re.MULTILINE))
    assert rows == {variable: _variable(setting) for variable, setting in ALIASES.items()}
    assert all(name in text for name in OF_COMMANDS)


@pytest.mark.parametrize("source", ["environment", "file"])
@pytest.mark.parametrize("variable", SET)
def test_each_alias_sets_its_setting(monkeypatch: pytest.MonkeyPatch, variable: str, source: str) -> None:
    value, setting, meant = SET[variable]
    assert getattr(Settings(), setting) != meant
    if source == "environment":
        monkeypatch.setenv(variable, value)
    else:
        Path(".env").write_text(f"{variable}={value}\n")
    assert getattr(load(), setting) == meant


@pytest.mark.parametrize(
    ("enabled", "number", "device"),
    [
        ("true", None, "auto"),
        ("1", "2", "cuda:2"),
        ("false", "2", "cpu"),
        ("", "2", "cuda:2"),
        ("", "", "auto"),
    ],
)
def test_the_gpu_has_two_variables(
    monkeypatch: pytest.MonkeyPatch, enabled: str, number: str | None, device: str
) -> None:
    monkeypatch.setenv("MODEMORA_GPU_ENABLED", enabled)
    monkeypatch.setenv("MODEMORA_GPU_DEVICE_ID", number or "")
    assert Settings().device == device


#: Our own value for a setting that says the same as the one of `SET` in other words.
SAME = {"memory_budget": "8.192GB", "request_timeout": "12.50", "warm_up": "off"}


@pytest.mark.parametrize("variable", SET)
def test_two_names_of_a_setting_may_agree(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    value, setting, meant = SET[variable]
    monkeypatch.setenv(variable, value)
    ours = SAME.get(setting) or (str(meant) if setting != "memory_budget" else value)
    monkeypatch.setenv(_variable(setting), ours)
    assert getattr(Settings(), setting) == meant


#: Our own value for a setting that contradicts the one of `SET`.
OTHER = {
    "device": "cuda:3",
    "log_level": "ERROR",
    "memory_budget": "60%",
    "warm_up": "true",
    "tracing": "false",
}


@pytest.mark.parametrize("variable", SET)
def test_two_names_of_a_setting_that_contradict_end_the_program(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    value, setting, _ = SET[variable]
    other = OTHER.get(setting, "3")
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv(_variable(setting), other)
    with pytest.raises(SystemExit) as ended:
        load()
    text = str(ended.value)
    assert text.startswith(f"okawari: {variable}: ")
    assert _variable(setting) in text
    assert repr(other) in text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(
            ("MODEMORA_REST_PORT", "many"),
            ("MODEMORA_MAX_MODEL_MEMORY_MB", "8GB"),
            ("MODEMORA_LOG_LEVEL", "x"),
        ),
        *(
            ("MODEMORA_GPU_ENABLED", "maybe"),
            ("MODEMORA_GPU_DEVICE_ID", "cuda"),
            ("MODEMORA_NUM_WORKERS", "0"),
        ),
        ("MODEMORA_MAX_MODEL_MEMORY_MB", "0"),
    ],
)
def test_a_value_that_cannot_be_is_told_with_the_name_that_was_used(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit, match=rf"^okawari: {variable}: .*found '{value}"):
        load()


def test_a_wrong_value_of_our_own_name_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEMORA_NUM_WORKERS", "2")
    monkeypatch.setenv("WORKERS", "many")
    with pytest.raises(SystemExit, match=r"^okawari: WORKERS: .*found 'many'$"):
        load()


# --- names that mean nothing ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MODEMORA_BATCHSIZE", "unknown setting, ignored; did you mean MODEMORA_BATCH_SIZE?"),
        ("modemora_rest_prot", "unknown setting, ignored; did you mean MODEMORA_REST_PORT?"),
        ("MODEMORA_GRPC_TLS_CERT", "unknown setting, ignored; did you mean OKAWARI_GRPC_TLS_CERT?"),
        ("MODEMORA_QQQQ", "see docs/guides/modelmora.md"),
    ],
)
def test_a_variable_without_a_meaning_is_told_with_the_nearest_that_has_one(name: str, words: str) -> None:
    (line,) = unknown([name])
    assert line.startswith(f"{name}: ")
    assert line.endswith(words)


def test_variables_with_a_meaning_are_told_nothing_of() -> None:
    assert unknown([*SET, *OF_COMMANDS]) == []


# --- .env ----------------------------------------------------------------------------------------


def test_the_environment_goes_before_env_before_toml_before_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("okawari.toml").write_text("port = 1\nswap_timeout = 1\nserve = 'toml'\nmax_pixels = 1000")
    Path(".env").write_text("PORT=2\nOKAWARI_SWAP_TIMEOUT=2\nOKAWARI_SERVE='env file' # why\n")
    monkeypatch.setenv("PORT", "3")
    monkeypatch.setenv("OKAWARI_SERVE", "")
    read = Settings()
    assert (read.port, read.swap_timeout, read.serve, read.max_pixels) == (3, 2, "env file", 1000)


def test_a_name_in_the_environment_goes_before_another_name_in_env(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PORT=2\nMODEMORA_NUM_WORKERS=2\n")
    monkeypatch.setenv("MODEMORA_REST_PORT", "3")
    monkeypatch.setenv("WORKERS", "3")
    assert (Settings().port, Settings().workers) == (3, 3)


def test_two_names_in_env_that_contradict_end_the_program() -> None:
    Path(".env").write_text("PORT=2\nMODEMORA_REST_PORT=3\n")
    with pytest.raises(SystemExit, match="MODEMORA_REST_PORT: '3' contradicts PORT, which is '2'"):
        load()


def test_what_is_meant_for_others_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    lines = (
        "POSTGRES_PASSWORD=geheim",
        "OKAWARI_ADMIN_TOKEN=geheim",
        "OKAWARI_IMAGE=geheim",
        "no assignment",
    )
    Path(".env").write_text("\n".join(lines))
    read = load()
    assert read.admin_token == "geheim"
    assert "geheim" not in repr(read)
    assert "POSTGRES_PASSWORD" not in os.environ
    assert capsys.readouterr().err == ""


def test_a_misspelt_name_in_env_is_told_without_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".env").write_text("okawari_admin_tokn=geheim\nMODEMORA_LOGLEVEL=geheim\n")
    load()
    err = capsys.readouterr().err
    assert "did you mean OKAWARI_ADMIN_TOKEN?" in err
    assert "did you mean MODEMORA_LOG_LEVEL?" in err
    assert "geheim" not in err


@pytest.mark.parametrize("content", [b"PORT=\xff", b"PORT=1\n" + b"#" * 1_000_000])
def test_an_env_file_that_cannot_be_read_ends_the_program(content: bytes) -> None:
    Path(".env").write_bytes(content)
    with pytest.raises(SystemExit, match=r"^okawari: \.env (cannot be read|has more than)"):
        load()


def test_a_folder_of_that_name_is_no_env_file() -> None:
    Path(".env").mkdir()
    assert Settings().port == 3000


# --- where they are used -------------------------------------------------------------------------


def test_a_port_that_was_set_is_where_http_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().listen == {}
    monkeypatch.setenv("MODEMORA_REST_PORT", "8080")
    assert Settings().listen == {"port": 8080}


def test_the_port_of_the_metrics_goes_before_the_configuration_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert metrics_port(Settings()) == 0
    monkeypatch.setenv("MODEMORA_PROMETHEUS_PORT", "9100")
    assert metrics_port(Settings()) == 9100
    (tmp_path / "config.yaml").write_text("observability: {metrics: {port: 9999}}")
    monkeypatch.setenv("OKAWARI_CONFIG", "config.yaml")
    assert metrics_port(Settings()) == 9100
    monkeypatch.setenv("MODEMORA_PROMETHEUS_PORT", "0")
    assert metrics_port(Settings()) == 0
    monkeypatch.delenv("MODEMORA_PROMETHEUS_PORT")
    assert metrics_port(Settings()) == 9999

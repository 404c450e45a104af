"""The settings: where they come from, and what is said of those that cannot be."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from common.quotas import Quota
from config_file import Config
from settings import BESIDE_THE_SETTINGS, CONFIGURED, Settings, load, unknown

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PORT", "WORKERS", "OKAWARI_HOME", "BENTOML_HOME", "OKAWARI_THREADS", "GRPC_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_of_two_homes_the_one_that_is_set_stands_for_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().home == Settings().store_home == Path.cwd() / "var"
    monkeypatch.setenv("OKAWARI_HOME", "/a")
    assert (Settings().home, Settings().models) == (Path("/a"), Path("/a/models"))
    monkeypatch.setenv("BENTOML_HOME", "/b")
    assert (Settings().home, Settings().models) == (Path("/a"), Path("/b/models"))
    monkeypatch.delenv("OKAWARI_HOME")
    assert (Settings().home, Settings().models) == (Path("/b"), Path("/b/models"))


def test_the_environment_goes_before_the_file_and_an_empty_variable_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("okawari.toml").write_text('serve = "a:v1"\nswap_timeout = 5\n')
    monkeypatch.setenv("OKAWARI_SERVE", "b")
    monkeypatch.setenv("OKAWARI_SWAP_TIMEOUT", "")
    assert (Settings().serve, Settings().swap_timeout) == ("b", 5)


def test_files_are_meant_from_where_the_settings_were_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """BentoML imports the service in one folder, and runs master and workers in others."""
    for name in ("CERT", "KEY", "CLIENT_CA"):
        monkeypatch.setenv(f"OKAWARI_GRPC_TLS_{name}", f"certs/{name}")
    read = Settings()
    monkeypatch.chdir("/")
    assert read.grpc_tls_cert == tmp_path / "certs" / "CERT"
    assert read.grpc_tls_key == tmp_path / "certs" / "KEY"
    assert read.grpc_tls_client_ca == tmp_path / "certs" / "CLIENT_CA"


def test_threads_share_the_cores_between_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("settings._cores", lambda: 8)
    monkeypatch.setenv("WORKERS", "3")
    assert Settings().thread_count == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "many"),
        ("WORKERS", "0"),
        ("OKAWARI_LOG_LEVEL", "loud"),
        ("OKAWARI_REQUEST_TIMEOUT", "-1"),
        ("OKAWARI_MAX_STREAM_MESSAGE_BYTES", "0"),
    ],
)
def test_a_setting_that_cannot_be_ends_the_program_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=f"^okawari: {name}: .*, found '{value}'$"):
        load()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OKAWARI_ADMIN_TOKEN", "  ", "admin_token is blank"),
        ("OKAWARI_MAX_BUFFERED_BYTES", "1000000", "at least max_body_bytes"),
        ("OKAWARI_GRPC_TLS_CERT", "a.pem", "need each other"),
        ("OKAWARI_GRPC_TLS_CLIENT_CA", "a.pem", "set grpc_tls_cert"),
        ("OKAWARI_OIDC_ISSUER", "https://id.example", "need each other"),
        ("OKAWARI_OIDC_AUDIENCE", "okawari", "need each other"),
        ("OKAWARI_QUOTA_SUBJECT", "1/minute", "need oidc_issuer"),
        ("OKAWARI_QUOTA_ORGANISATION", "1/day", "need oidc_issuer"),
        ("OKAWARI_AUTH_REQUIRED_FOR_PREDICT", "true", "needs oidc_issuer, or admin_token"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=said) as ended:
        load()
    assert "found" not in str(ended.value), "a token is no text for a log"


@pytest.mark.parametrize(
    ("issuer", "insecure", "accepted"),
    [
        ("https://id.example/realms/cameras", "", True),
        ("http://127.0.0.1:8080/realms/cameras", "", True),
        ("http://localhost/a", "", True),
        ("http://[::1]:8080", "", True),
        ("http://id.example/", "", False),
        ("http://127.0.0.1.evil.example/", "", False),
        ("http://localhost@evil.example/", "", False),
        ("http://id.example/", "true", True),
        ("ftp://id.example/", "true", False),
        ("https://id.example/?a=b", "", False),
        ("id.example", "", False),
    ],
)
def test_a_provider_is_asked_by_tls(
    monkeypatch: pytest.MonkeyPatch, issuer: str, insecure: str, accepted: bool
) -> None:
    monkeypatch.setenv("OKAWARI_OIDC_ISSUER", issuer)
    monkeypatch.setenv("OKAWARI_OIDC_AUDIENCE", "okawari")
    monkeypatch.setenv("OKAWARI_INSECURE", insecure)
    if accepted:
        assert load().oidc_issuer == issuer
    else:
        with pytest.raises(SystemExit, match=r"^okawari: "):
            load()


@pytest.mark.parametrize("algorithms", ["none", "HS256", "RS256,HS256", "ES256K", "rs256", ","])
def test_only_algorithms_of_public_keys_are_allowed(monkeypatch: pytest.MonkeyPatch, algorithms: str) -> None:
    monkeypatch.setenv("OKAWARI_OIDC_ALGORITHMS", algorithms)
    with pytest.raises(SystemExit, match="OKAWARI_OIDC_ALGORITHMS: "):
        load()
    monkeypatch.setenv("OKAWARI_OIDC_ALGORITHMS", "ES256, PS512")
    assert load().oidc_algorithms == ("ES256", "PS512")


@pytest.mark.parametrize("quota", ["60", "0/minute", "-1/day", "60/hour", "1/day,2/day", "1/day,", "x/day"])
def test_a_quota_that_is_none_is_told_with_the_form(monkeypatch: pytest.MonkeyPatch, quota: str) -> None:
    monkeypatch.setenv("OKAWARI_QUOTA_DEVICE", quota)
    with pytest.raises(SystemExit, match=r"OKAWARI_QUOTA_DEVICE: .*60/minute, 5000/day"):
        load()
    monkeypatch.setenv("OKAWARI_QUOTA_DEVICE", " 60/minute,5000 / day ")
    assert load().quota_device == Quota(60, 5000)


@pytest.mark.parametrize("text", [b"port = ", b'serve = "\xff"'])
def test_a_file_that_cannot_be_read_ends_the_program_with_its_name(text: bytes) -> None:
    Path("okawari.toml").write_bytes(text)
    with pytest.raises(SystemExit, match=r"^okawari: okawari\.toml cannot be read: "):
        load()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("OKAWARI_WORKERS", "use WORKERS"),
        ("OKAWARI_PORT", "use PORT"),
        ("OKAWARI_BENTOML_HOME", "use BENTOML_HOME"),
        ("OKAWARI_MAX_PIXEL", "OKAWARI_MAX_PIXELS"),
        ("OKAWARI_LOGLEVEL", "OKAWARI_LOG_LEVEL"),
        ("okawari_treads", "OKAWARI_THREADS"),
        ("OKAWARI_XYZQ", "settings.md"),
        ("OKAWARI_", "settings.md"),
    ],
)
def test_a_variable_that_is_no_setting_is_told_with_the_nearest_that_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "secret")
    load()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"okawari: warning: {name}: ")
    assert line.endswith((meant, f"did you mean {meant}?")) or "settings.md" in line
    assert meant in line
    assert "secret" not in line
    load(warn=False)
    assert capsys.readouterr().err == ""


def test_variables_of_ours_and_of_others_are_told_nothing_of() -> None:
    ours = re.findall(r"\| `([A-Z_]+)` \|", (ROOT / "docs" / "guides" / "settings.md").read_text())
    assert len(ours) > 20
    assert (
        unknown([*ours, *BESIDE_THE_SETTINGS, "BENTOML_HOMES", "OKAWARIX", "XOKAWARI_Y", "okawari_serve"])
        == []
    )


@pytest.mark.process
def test_every_variable_that_this_repository_uses_is_known() -> None:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    files = [ROOT / name.decode() for name in done.stdout.split(b"\0") if name]
    if not files:
        pytest.skip("this is no checkout: its files are not known")
    mine = Path(__file__)
    texts = (file.read_bytes() for file in files if file.is_file() and file != mine)
    used = {name.decode() for text in texts for name in re.findall(rb"OKAWARI_[A-Z_]*[A-Z]\b", text)}
    assert set(BESIDE_THE_SETTINGS) <= used
    assert unknown(used - {"OKAWARI_WORKERS"}) == []


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("serv = 1", "did you mean serve?"),
        ("OKAWARI_SERVE = '*'", "use serve"),
        ("[server]\nport = 1", "'server'"),
        ("admin_tokne = 'secret'", "did you mean admin_token?"),
    ],
)
def test_an_unknown_key_of_the_file_ends_the_program(text: str, meant: str) -> None:
    Path("okawari.toml").write_text(text)
    with pytest.raises(SystemExit, match=r"^okawari: okawari\.toml: .*unknown setting") as ended:
        load()
    assert meant in str(ended.value)
    assert "secret" not in str(ended.value)


def test_origins_are_read_as_browsers_send_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().cors_origins is None
    told = " HTTP://Camera.local:80, https://a:443 ,http://[::1]:8000,chrome-extension://abc,http://a:443,"
    monkeypatch.setenv("OKAWARI_CORS_ORIGINS", told)
    assert Settings().cors_origins == (
        *("http://camera.local", "https://a", "http://[::1]:8000"),
        *("chrome-extension://abc", "http://a:443"),
    )
    monkeypatch.setenv("OKAWARI_CORS_ORIGINS", "*")
    assert Settings().cors_origins == ("*",)
    monkeypatch.delenv("OKAWARI_CORS_ORIGINS")
    Path("okawari.toml").write_text('cors_origins = ["http://a", "http://b"]')
    assert Settings().cors_origins == ("http://a", "http://b")


@pytest.mark.parametrize(
    "value",
    [
        *("camera.local", "http://camera.local/", "http://a/page.html", "http://a?x", "http://u:p@a", "null"),
        *(
            "http://*.local",
            "http://",
            "http://a:99999",
            "http://a:x",
            "http://a b",
            "*, http://a",
            "http://é",
        ),
    ],
)
def test_an_origin_that_no_browser_sends_ends_the_program(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("OKAWARI_CORS_ORIGINS", value)
    with pytest.raises(SystemExit, match=r"^okawari: OKAWARI_CORS_ORIGINS: "):
        load()


def test_the_records_lie_under_the_home_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OKAWARI_HOME", "/a")
    assert Settings().database_url == "sqlite:////a/records.db"
    monkeypatch.setenv("OKAWARI_DATABASE", "postgresql://ann:geheim@db/bird_detection")
    assert Settings().database_url == "postgresql://ann:geheim@db/bird_detection"
    assert "geheim" not in repr(Settings())


def test_the_configuration_says_where_the_records_lie_unless_a_variable_does(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("database: {host: db, user: ann, password: geheim}")
    assert Settings().database_url == "postgresql://ann:geheim@db:5432/bird_detection"
    monkeypatch.setenv("OKAWARI_DATABASE", "sqlite:////a.db")
    assert Settings().database_url == "sqlite:////a.db"


CONFIG = """
server: {host: 0.0.0.0, port: 8000, workers: 2}
model: {device: cpu}
observability: {logging: {level: DEBUG}, tracing: {enabled: true, endpoint: "http://jaeger:4318"}}
auth: {required_for_predict: true}
"""
#: Setting → its default, what `CONFIG` says, its variable.
SHARED: dict[str, tuple[object, object, str]] = {
    "port": (3000, 8000, "PORT"),
    "workers": (1, 2, "WORKERS"),
    "device": ("auto", "cpu", "OKAWARI_DEVICE"),
    "log_level": ("INFO", "DEBUG", "OKAWARI_LOG_LEVEL"),
    "tracing": (None, True, "OKAWARI_TRACING"),
    "tracing_endpoint": (None, "http://jaeger:4318", "OKAWARI_TRACING_ENDPOINT"),
    "auth_required_for_predict": (False, True, "OKAWARI_AUTH_REQUIRED_FOR_PREDICT"),
}
OTHER: dict[str, object] = {
    "port": 9,
    "workers": 3,
    "device": "cuda",
    "log_level": "ERROR",
    "tracing": False,
    "tracing_endpoint": "http://other:4318",
    "auth_required_for_predict": False,
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of `OKAWARI_CONFIG`."""
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    monkeypatch.setenv("OKAWARI_CONFIG", "config.yaml")
    monkeypatch.setenv("OKAWARI_ADMIN_TOKEN", "needed by one of them")
    return file


def test_without_a_configuration_file_its_defaults_hold() -> None:
    assert (Settings().config, Settings().detection, Settings().listen) == (None, Config(), {})


@pytest.mark.parametrize("name", CONFIGURED)
def test_the_environment_goes_before_the_toml_file_before_the_configuration_before_the_default(
    config: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    default, configured, variable = SHARED[name]
    assert getattr(Settings(), name) == configured
    value = OTHER[name]
    written = str(value).lower() if isinstance(value, bool) else repr(value)
    Path("okawari.toml").write_text(f"{name} = {written}")
    assert getattr(Settings(), name) == value
    if default is not None:
        monkeypatch.setenv(variable, str(default))
        assert getattr(Settings(), name) == default
    monkeypatch.setenv(variable, "")
    Path("okawari.toml").unlink()
    assert getattr(Settings(), name) == configured
    config.write_text("")
    assert getattr(Settings(), name) == default


def test_the_configuration_is_meant_from_where_it_was_named_and_says_where_to_listen(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = load()
    config.unlink()
    monkeypatch.chdir("/")
    assert read.config == config
    assert read.listen == {"host": "0.0.0.0", "port": 8000}  # noqa: S104
    assert read.detection.server.workers == 2


def test_the_toml_file_may_name_the_configuration(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OKAWARI_CONFIG")
    Path("okawari.toml").write_text("config = 'config.yaml'\nport = 5")
    assert (Settings().config, Settings().port, Settings().workers) == (config, 5, 2)


def test_each_finding_in_the_configuration_is_a_line_that_ends_the_program(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", "very-secret")
    config.write_text("server: {prt: 1}\ndatabase:\n  port: ${PASSWORD}\n")
    with pytest.raises(SystemExit) as ended:
        load()
    lines = str(ended.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("okawari: config.yaml: ") for line in lines)
    assert "very-secret" not in str(ended.value)
    config.unlink()
    with pytest.raises(SystemExit, match=r"config\.yaml: cannot be read"):
        load()


def test_a_root_path_has_one_spelling_and_is_none_of_our_own_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OKAWARI_ROOT_PATH", "apps/mora/")
    assert Settings().root_path == "/apps/mora"
    for wrong in ("/models", "/v2/x", "/a b", "https://x/y"):
        monkeypatch.setenv("OKAWARI_ROOT_PATH", wrong)
        with pytest.raises(SystemExit, match="OKAWARI_ROOT_PATH"):
            load()


def test_trusted_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().trusted_proxies is None
    monkeypatch.setenv("OKAWARI_TRUSTED_PROXIES", "10.0.0.7, fd00::/8")
    assert Settings().trusted_proxies == ("10.0.0.7", "fd00::/8")
    for wrong in ("proxy.local", "10.0.0.7/8", "*"):
        monkeypatch.setenv("OKAWARI_TRUSTED_PROXIES", wrong)
        with pytest.raises(SystemExit, match="OKAWARI_TRUSTED_PROXIES"):
            load()

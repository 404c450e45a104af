"""The settings: where they come from, and what is said of those that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from settings import Settings, load


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
    ],
)
def test_a_setting_that_cannot_be_ends_the_program_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=f"^okawari: {name}: .*; it is '{value}'$"):
        load()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OKAWARI_ADMIN_TOKEN", "  ", "admin_token is blank"),
        ("OKAWARI_MAX_BUFFERED_BYTES", "1000000", "at least max_body_bytes"),
        ("OKAWARI_GRPC_TLS_CERT", "a.pem", "belong together"),
        ("OKAWARI_GRPC_TLS_CLIENT_CA", "a.pem", "set grpc_tls_cert"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=said) as ended:
        load()
    assert "it is" not in str(ended.value), "a token is no text for a log"


@pytest.mark.parametrize("text", [b"port = ", b'serve = "\xff"'])
def test_a_file_that_cannot_be_read_ends_the_program_with_its_name(text: bytes) -> None:
    Path("okawari.toml").write_bytes(text)
    with pytest.raises(SystemExit, match=r"^okawari: okawari\.toml cannot be read: "):
        load()

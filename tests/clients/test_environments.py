"""The environments of other people's clients: locked, and a reason where they cannot be had."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import clients

LOCKS = sorted(clients.LOCKS.glob("*.lock"))
_NAME = re.compile(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", re.IGNORECASE | re.MULTILINE)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a registry that nobody serves."""
    monkeypatch.setattr(clients, "CACHE", tmp_path / "clients")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    return tmp_path / "clients"


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_has_hashes_and_no_addresses(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_is_of_its_requirements(path: Path) -> None:
    wanted = dict(_NAME.findall(path.with_suffix(".in").read_text()))
    locked = dict(_NAME.findall(path.read_text()))
    assert wanted
    assert wanted.items() <= locked.items(), "run: python -m scripts.clients --lock"


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_without_a_registry_a_client_is_unavailable_and_says_so(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clients.main(["typed"]) == clients.UNAVAILABLE
    assert "reaches no registry" in capsys.readouterr().err
    assert not (elsewhere / "typed" / ".built").exists()


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_a_broken_lock_is_an_error_and_no_reason_to_skip(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "typed.lock").write_text("idna==3.10\n")
    monkeypatch.setattr(clients, "LOCKS", tmp_path / "locks")
    with pytest.raises(RuntimeError, match="hash"):
        clients.build("typed")


def test_an_unknown_client_is_told_what_there_is() -> None:
    with pytest.raises(ValueError, match="triton"):
        clients.build("nobody")


def test_a_client_that_stands_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def make(home: Path) -> None:
        built.append(home.name)
        home.mkdir()

    monkeypatch.setattr(clients, "CACHE", tmp_path)
    monkeypatch.setattr(clients, "_BUILDERS", {"grpcurl": make})
    clients.build("grpcurl")
    clients.build("grpcurl")
    assert built == ["grpcurl"]
    monkeypatch.setattr(clients, "GRPCURL", "another@v2")
    clients.build("grpcurl")
    assert built == ["grpcurl", "grpcurl"]


def test_one_that_was_interrupted_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(home: Path) -> None:
        home.mkdir()
        (home / "half").touch()
        raise clients.Unavailable("the network went away")

    monkeypatch.setattr(clients, "CACHE", tmp_path)
    monkeypatch.setattr(clients, "_BUILDERS", {"grpcurl": fail})
    with pytest.raises(clients.Unavailable):
        clients.build("grpcurl")
    monkeypatch.setattr(clients, "_BUILDERS", {"grpcurl": Path.mkdir})
    assert not (clients.build("grpcurl") / "half").exists()

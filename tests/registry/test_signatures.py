"""Signatures: made and checked with real keys by the library that makers of models use."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hotswap.errors import BadRequest
from hotswap.gate import Result
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from models_import.store import ModelStore
from registry.signatures import BUNDLE, SignatureFiles, SignatureRequirement, sign
from tests.e2e.stores import Store
from tests.support.bad_versions import key_pair


@pytest.fixture
def stored(tmp_path: Path) -> Callable[..., Artifact]:
    """A version of the store; `key` signs its folder before it comes in."""
    store = Store(tmp_path / "home", tmp_path)

    def make(version: str = "v1", code: int = 1, key: Path | None = None) -> Artifact:
        folder = store.source(version, code)
        if key is not None:
            sign(folder, key, folder / BUNDLE)
        store.take(folder)
        settled = ModelStore(store.models).settle(ModelTag("m", version))
        assert isinstance(settled, Artifact)
        return settled

    return make


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return key_pair(tmp_path, "release")


def judged(artifact: Artifact, home: Path, *public: Path) -> tuple[Result, str]:
    verdict = SignatureRequirement(public, SignatureFiles(home)).judge(artifact)
    return verdict.result, verdict.reason


def test_a_version_that_brings_its_signature_passes(
    stored: Callable[..., Artifact], keys: tuple[Path, Path], tmp_path: Path
) -> None:
    _, other = key_pair(tmp_path, "other")
    artifact = stored(key=keys[0])
    assert judged(artifact, tmp_path, other, keys[1]) == (Result.PASS, "signed with the key of release.pub")
    assert judged(artifact, tmp_path, other) == (Result.FAIL, "it is signed with another key than other.pub")


def test_a_version_of_the_store_is_signed_beside_it(
    stored: Callable[..., Artifact], keys: tuple[Path, Path], tmp_path: Path
) -> None:
    artifact, files = stored(), SignatureFiles(tmp_path)
    result, reason = judged(artifact, tmp_path, keys[1])
    assert (result, reason.startswith("it is not signed")) == (Result.FAIL, True)
    sign(artifact.path, keys[0], files.path(artifact.digest))
    assert judged(artifact, tmp_path, keys[1])[0] is Result.PASS


def test_a_signature_of_other_files_proves_nothing(
    stored: Callable[..., Artifact], keys: tuple[Path, Path], tmp_path: Path
) -> None:
    one, other, files = stored(), stored("v2", 2), SignatureFiles(tmp_path)
    sign(one.path, keys[0], files.path(other.digest))
    result, reason = judged(other, tmp_path, keys[1])
    assert result is Result.FAIL
    assert reason.startswith("its files are not those that were signed")
    assert "weights.onnx" in reason


@pytest.mark.parametrize("content", [b"", b"{}", b"no JSON", b'{"mediaType": "application/x"}'])
def test_what_is_no_bundle_proves_nothing(
    stored: Callable[..., Artifact], keys: tuple[Path, Path], tmp_path: Path, content: bytes
) -> None:
    artifact = stored()
    bundle = SignatureFiles(tmp_path).path(artifact.digest)
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(content)
    result, reason = judged(artifact, tmp_path, keys[1])
    assert result is Result.FAIL
    assert reason.startswith("its signature is wrong")


def test_a_file_that_was_added_after_the_signature_is_noticed(
    keys: tuple[Path, Path], tmp_path: Path, stored: Callable[..., Artifact]
) -> None:
    artifact = stored()
    folder = tmp_path / "more"
    shutil.copytree(artifact.path, folder)
    sign(folder, keys[0], tmp_path / "bundle")
    (folder / "more.onnx").write_bytes(b"more")
    files = SignatureFiles(tmp_path / "home2")
    files.path(artifact.digest).parent.mkdir(parents=True)
    shutil.copy(tmp_path / "bundle", files.path(artifact.digest))
    moved = Artifact(
        artifact.tag, folder, folder, artifact.digest, artifact.config, artifact.created, artifact.size_bytes
    )
    result, reason = judged(moved, tmp_path / "home2", keys[1])
    assert (result, "more.onnx" in reason) == (Result.FAIL, True)


def test_what_is_no_key_is_named(
    stored: Callable[..., Artifact], keys: tuple[Path, Path], tmp_path: Path
) -> None:
    artifact = stored(key=keys[0])
    (tmp_path / "text").write_text("no key")
    with pytest.raises(BadRequest, match="text"):
        sign(artifact.path, tmp_path / "text", tmp_path / "bundle")
    for key in (tmp_path / "text", tmp_path / "missing"):
        result, reason = judged(artifact, tmp_path, key)
        assert (result, str(key) in reason) == (Result.FAIL, True)

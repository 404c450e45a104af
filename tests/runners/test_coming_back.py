"""A version that comes back into memory is checked on one picture; a fresh one on all, and on two at once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hotswap.predictions import Options, Picture, Predictions
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from runners.loader import OnnxLoader
from runners.onnx_runner import OnnxRunner
from tests import builders


def _artifact(folder: Path, digest: str) -> Artifact:
    from manifest.version_manifest import parse_config

    config = parse_config((folder / "config.json").read_bytes())
    return Artifact(
        ModelTag("m", "v1"), folder, folder / "weights.onnx", digest, config, datetime.now(UTC), size_bytes=1
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each prediction had."""
    counts: list[int] = []
    predict = OnnxRunner.predict

    def counted(self: OnnxRunner, pictures: list[Picture], options: Options) -> Predictions:
        counts.append(len(pictures))
        return predict(self, pictures, options)

    monkeypatch.setattr(OnnxRunner, "predict", counted)
    return counts


def test_what_has_proven_itself_is_checked_on_one_picture_when_it_comes_back(
    tmp_path: Path, asked: list[int]
) -> None:
    folder = builders.write_version(tmp_path / "v1", "m", "v1", 1, created=datetime.now(UTC))
    loader = OnnxLoader(max_pixels=1_000_000, thread_cap=1)
    first = loader.load(_artifact(folder, "sha256:1"))
    first.check()
    whole = list(asked)
    asked.clear()
    again = loader.load(_artifact(folder, "sha256:1"))
    again.check()
    assert asked == [1]
    assert len(whole) > 1
    assert again.batches == first.batches
    asked.clear()
    other = loader.load(_artifact(folder, "sha256:2"))
    other.check()
    assert asked == whole

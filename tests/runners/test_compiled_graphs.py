"""A version loads from its compiled form, and from its own files whenever anything is wrong with that."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotswap.predictions import Options, Picture
from hotswap.repository import Artifact
from residency.planner import Footprint
from runners import compiled_entry
from runners.compiled_entry import CompiledKey, cpu_features
from runners.loader import OnnxLoader
from tests.builders import code_of
from tests.support.compiled import Cache, all_outputs, compilable

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

CODE = 7
PICTURE = Picture(pixels=np.full((32, 32, 3), 200, np.uint8))
ASKED = {"image": np.random.default_rng(3).random((2, 3, 32, 32), np.float32)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Cache]:
    """A version and a cache with its entry; tests that break the entry do so in a copy."""
    folder = tmp_path_factory.mktemp("made")
    artifact = compilable(folder, CODE)
    cache = Cache(folder / "compiled")
    assert cache.compile(artifact) == "compiled"
    return artifact, cache


@pytest.fixture
def artifact(made: tuple[Artifact, Cache]) -> Artifact:
    return made[0]


@pytest.fixture
def cache(made: tuple[Artifact, Cache], tmp_path: Path) -> Cache:
    """A copy in which each file has its recorded identity."""
    folder = tmp_path / "compiled"
    shutil.copytree(made[1].folder, folder)
    copy = Cache(folder)
    copy.load(made[0])
    copy.outcomes.clear()
    return copy


def code(runner: Any) -> int:
    (answer,) = runner.predict([PICTURE], Options()).items
    return code_of(answer.detections[0].score)


def plain(artifact: Artifact) -> Any:
    return OnnxLoader(max_pixels=1_000_000, thread_cap=1).load(artifact)


def test_a_compiled_version_answers_as_the_plain_one_and_wants_nothing(
    artifact: Artifact, cache: Cache
) -> None:
    runner = cache.load(artifact)
    assert (cache.outcomes, cache.wanted, code(runner)) == (["hit"], [], CODE)
    assert all_outputs(runner, ASKED) == all_outputs(plain(artifact), ASKED)


def test_without_an_entry_the_plain_way_serves_and_a_compile_is_wanted_once(
    artifact: Artifact, tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "none")
    graphs = cache.graphs
    for _ in range(3):
        graphs.opener(artifact, lambda *_: "plain")(artifact.weights, 1, ())
    assert (cache.outcomes, cache.wanted) == (["miss"] * 3, [artifact.tag])
    assert code(cache.load(artifact)) == CODE


def test_a_device_other_than_the_cpu_opens_the_graph_itself(artifact: Artifact, cache: Cache) -> None:
    opened = cache.graphs.opener(artifact, lambda *_: "plain")(artifact.weights, 1, [object()])  # type: ignore[list-item]
    assert (opened, cache.outcomes, cache.wanted) == ("plain", [], [])


@pytest.mark.parametrize("bounds", [{"limit": 0}, {"smallest": 10**8}])
def test_a_version_that_is_not_to_be_compiled_is_neither_sought_nor_counted(
    artifact: Artifact, cache: Cache, bounds: dict[str, int]
) -> None:
    for name, value in bounds.items():
        setattr(cache, name, value)
    assert code(cache.load(artifact)) == CODE
    assert (cache.outcomes, cache.wanted, cache.compile(artifact)) == ([], [], "skipped")


def _truncated(cache: Cache) -> None:
    file = cache.file(".data")
    file.chmod(0o644)
    os.truncate(file, file.stat().st_size - 4096)


def _poisoned(cache: Cache) -> None:
    """Another byte, with size and time as before: only the ctime tells."""
    file = cache.file(".data")
    before = file.stat()
    file.chmod(0o644)
    with file.open("r+b") as data:
        data.seek(100)
        byte = data.read(1)
        data.seek(100)
        data.write(bytes([byte[0] ^ 1]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replaced(cache: Cache) -> None:
    file = cache.file(".onnx")
    other = file.with_name("other")
    other.write_bytes(file.read_bytes().replace(b"ReduceMean", b"ReduceMaxx"))
    other.replace(file)


def _linked(cache: Cache) -> None:
    file = cache.file(".data")
    elsewhere = cache.folder.parent / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


def _missing(cache: Cache) -> None:
    cache.file(".data").unlink()


@pytest.mark.parametrize("harm", [_truncated, _poisoned, _replaced, _linked, _missing])
def test_a_bad_entry_is_removed_and_the_plain_way_serves(
    artifact: Artifact, cache: Cache, harm: Callable[[Cache], None], caplog: pytest.LogCaptureFixture
) -> None:
    harm(cache)
    assert code(cache.load(artifact)) == CODE
    assert (cache.outcomes, cache.wanted, cache.entries()) == (["bad"], [artifact.tag], [])
    assert [record.levelname for record in caplog.records if "cannot be used" in record.message] == [
        "WARNING"
    ]
    assert cache.leftovers() == []
    assert code(cache.load(artifact)) == CODE
    assert cache.outcomes == ["bad", "miss"]


def test_a_copied_home_is_read_once_and_then_known(
    made: tuple[Artifact, Cache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, original = made
    folder = tmp_path / "compiled"
    shutil.copytree(original.folder, folder)
    reads: list[Path] = []
    true_sha256 = compiled_entry._sha256
    monkeypatch.setattr(compiled_entry, "_sha256", lambda path: (reads.append(path), true_sha256(path))[1])
    cache = Cache(folder)
    cache.load(artifact)
    assert len(reads) == 2
    cache.load(artifact)
    assert (len(reads), cache.outcomes) == (2, ["hit", "hit"])


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff", b"[" * 2_000_000])
def test_a_description_that_cannot_be_read_is_no_entry(artifact: Artifact, cache: Cache, text: bytes) -> None:
    file = cache.entries()[0] / "compiled.json"
    file.chmod(0o644)
    file.write_bytes(text)
    assert code(cache.load(artifact)) == CODE
    assert cache.outcomes == ["miss"]
    assert cache.compile(artifact) == "compiled"
    cache.load(artifact)
    assert cache.outcomes == ["miss", "hit"]


@pytest.mark.parametrize(
    "other", [{"onnxruntime": "0.1.0"}, {"cpu": "0" * 64}, {"digest": "sha256:" + "0" * 64}]
)
def test_an_entry_of_another_key_is_never_opened(
    artifact: Artifact, cache: Cache, other: dict[str, str]
) -> None:
    """Neither where it belongs, nor under the name of this key."""
    (place,) = cache.entries()
    file = place / "compiled.json"
    document = json.loads(file.read_bytes()) | other
    file.chmod(0o644)
    file.write_text(json.dumps(document))
    cache.load(artifact)
    place.rename(
        cache.folder / CompiledKey(**{n: document[n] for n in ("digest", "onnxruntime", "cpu")}).name
    )
    cache.load(artifact)
    assert cache.outcomes == ["miss", "miss"]


def test_the_features_of_the_cpu_decide_and_their_order_does_not(tmp_path: Path) -> None:
    def features(text: str) -> str:
        file = tmp_path / hashlib.sha256(text.encode()).hexdigest()
        file.write_text(text)
        return cpu_features(file)

    assert features("flags : avx2 fma\n") == features("processor : 0\nflags : fma avx2\nflags : x\n")
    assert features("flags : avx2 fma\n") != features("flags : avx2\n")
    assert features("Features : neon\n") != features("Features : neon sve\n")
    assert cpu_features(tmp_path / "absent")


def test_an_answer_other_than_the_recorded_one_is_never_given(
    artifact: Artifact, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    """As when a disk gives other bytes though nothing has written them: the identities agree."""
    _poison_unseen(cache)
    assert code(cache.load(artifact)) == CODE
    assert (cache.outcomes, cache.wanted, cache.entries()) == (["hit", "bad"], [artifact.tag], [])
    assert any("answers otherwise" in record.message for record in caplog.records)


def _poison_unseen(cache: Cache) -> None:
    """Other scores in the graph's own initializers, described as if they were the true ones."""
    file = cache.file(".onnx")
    score = np.float32(0.5 + CODE / 4096).tobytes()
    content = file.read_bytes()
    assert score in content
    file.chmod(0o644)
    file.write_bytes(content.replace(score, np.float32(0.9).tobytes()))
    place = file.parent
    entry = compiled_entry.CompiledEntry.model_validate_json((place / "compiled.json").read_bytes())
    files = compiled_entry.described(place, entry.graphs)
    (place / "compiled.json").chmod(0o644)
    (place / "compiled.json").write_text(entry.model_copy(update={"files": files}).model_dump_json())


def test_with_other_threads_answers_are_not_compared(artifact: Artifact, cache: Cache) -> None:
    config = artifact.config.model_copy(
        update={"resources": artifact.config.resources.model_copy(update={"threads": 2})}
    )
    assert code(cache.load(replace(artifact, config=config), threads=2)) == CODE
    assert cache.outcomes == ["hit"]


def test_the_footprint_is_that_of_the_compiled_form(artifact: Artifact, cache: Cache) -> None:
    footprint = cache.graphs.footprint(artifact.digest)
    assert isinstance(footprint, Footprint)
    assert footprint.shared >= 1 << 20
    assert footprint.own < 16 << 20
    assert cache.graphs.footprint("sha256:" + "1" * 64) is None


def test_an_entry_that_was_removed_serves_on_where_it_is_mapped(artifact: Artifact, cache: Cache) -> None:
    runner = cache.load(artifact)
    before = all_outputs(runner, ASKED)
    cache.graphs.remove(artifact.digest)
    assert (cache.entries(), cache.leftovers()) == ([], [])
    assert all_outputs(runner, ASKED) == before


def test_the_longest_unused_entries_make_room(artifact: Artifact, cache: Cache, tmp_path: Path) -> None:
    second, third = (compilable(tmp_path, number, version=f"v{number}") for number in (2, 3))
    assert cache.compile(second) == "compiled"
    cache.load(artifact)  # now the second one is the longest unused
    cache.limit = 3_000_000
    assert cache.compile(third) == "compiled"
    known = [cache.graphs.entry(each.digest) is not None for each in (artifact, second, third)]
    assert known == [True, False, True]


@pytest.fixture
def sealed(cache: Cache) -> Iterator[Cache]:
    """The cache on a file system that is mounted read-only."""
    bind = ["mount", "--bind", str(cache.folder), str(cache.folder)]
    if subprocess.run(bind, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user cannot mount a folder read-only")
    subprocess.run(["mount", "-o", "remount,ro,bind", str(cache.folder)], check=True)
    yield cache
    subprocess.run(["umount", "--lazy", str(cache.folder)], check=True)


def test_a_home_that_is_read_only_serves_its_entries(
    artifact: Artifact, sealed: Cache, tmp_path: Path
) -> None:
    sealed.load(artifact)
    assert sealed.outcomes == ["hit"]
    second = compilable(tmp_path, 2, version="v2")
    assert sealed.compile(second) == "failed"
    assert code(sealed.load(second)) == 2
    assert sealed.outcomes == ["hit", "miss"]

"""Several processes put pictures at once, or are killed while they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lineage.errors import PathTaken
from tests.support.picture_places import PicturePlace

ROOT = Path(__file__).parents[2]
PATHS = [f"images/cam-1/2026-01-02/03-04-{second:02}_ab12.jpg" for second in range(20)]
pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


@contextmanager
def _process(
    place: PicturePlace, text: str, paths: list[str], **more: Any
) -> Iterator[subprocess.Popen[str]]:
    """One that is ready to put."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.adapters.put_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        orders = {"location": place.location, "options": asdict(place.options), "text": text, "paths": paths}
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(orders | more) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        yield process


def _go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def _got(process: subprocess.Popen[str]) -> set[str]:
    assert process.stdout
    return set(json.loads(process.stdout.readline()))


def test_of_two_processes_with_different_bytes_each_path_has_one_winner(place: PicturePlace) -> None:
    with _process(place, "one", PATHS) as one, _process(place, "two", PATHS) as two:
        _go(one)
        _go(two)
        winners = {"one": _got(one), "two": _got(two)}
    assert winners["one"] ^ winners["two"] == set(PATHS)
    pictures = place.open()
    for text, paths in winners.items():
        assert {pictures.get(path) for path in paths} <= {text.encode()}
    assert [one.path for one in pictures.objects()] == PATHS


def test_of_two_processes_with_the_same_bytes_both_have_stored_them(place: PicturePlace) -> None:
    with _process(place, "one", PATHS) as one, _process(place, "one", PATHS) as two:
        _go(one)
        _go(two)
        assert _got(one) == _got(two) == set(PATHS)
    assert [one.path for one in place.open().objects()] == PATHS


def test_a_put_that_is_killed_leaves_nothing_or_the_whole_picture(folder_pictures: PicturePlace) -> None:
    text = "a picture " * 5000
    outcomes = []
    for deadly in range(1, 60):
        path = f"images/cam-{deadly}/2026-01-02/03-04-05_ab12.jpg"
        with _process(folder_pictures, text, [path], deadly=deadly) as process:
            _go(process)
            assert process.stdout
            process.stdout.read()
        if process.returncode == 0:
            break
        assert process.returncode == -9
        pictures = folder_pictures.open()
        stored = list(pictures.objects(f"images/cam-{deadly}/"))
        outcomes.append(len(stored))
        assert [(one.path, one.size) for one in stored] in ([], [(path, len(text))])
        pictures.put(path, text.encode(), {})
        assert pictures.get(path) == text.encode()
        with pytest.raises(PathTaken):
            pictures.put(path, b"other", {})
    # Three folders are made, the bytes written, made durable, and named.
    assert len(outcomes) > 10
    assert {0, 1} == set(outcomes)
    assert outcomes == sorted(outcomes)


def test_what_killed_processes_left_is_removed_when_it_is_old(folder_pictures: PicturePlace) -> None:
    folder_pictures.open()
    incoming = Path(folder_pictures.location) / ".incoming"
    old, young = incoming / "tmpold", incoming / "tmpyoung"
    for file in (old, young):
        file.write_bytes(b"half a pic")
    two_hours_ago = time.time() - 7200
    os.utime(old, (two_hours_ago, two_hours_ago))
    pictures = folder_pictures.open()
    assert (old.exists(), young.exists()) == (False, True)
    assert list(pictures.objects()) == []
    os.utime(young, (two_hours_ago, two_hours_ago))
    pictures.check()
    assert not young.exists()

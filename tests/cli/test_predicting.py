"""`predict`: which pictures are asked about, where their copies go, and what is told of each."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.client import AT_ONCE, PredictClient, connect, service_url
from cli.errors import Refused
from cli.image_files import SkippedFiles, pictures, places
from cli.predict_command import _predict_all, best
from tests.cli.conftest import Okawari, Service
from tests.cli.test_main import child
from workers.run_folder import RunFolder

_ANSWER = {"model": "m", "model_version": "v1", "detections": []}


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


class TestGathering:
    def test_folders_are_walked_for_pictures_in_natural_order(self, tmp_path: Path) -> None:
        names = "10.JPG 2.png b/1.webp b/.hidden.jpg .git/x.jpg notes.txt c/3.bmp 4.jpeg"
        touch(*(tmp_path / name for name in names.split()))
        found = [str(file.relative_to(tmp_path)) for file in pictures([tmp_path])]
        assert found == ["2.png", "4.jpeg", "10.JPG", "b/1.webp", "c/3.bmp"]

    def test_a_file_that_is_named_may_be_called_anything_and_need_not_be_there(self, tmp_path: Path) -> None:
        touch(tmp_path / "frame")
        meant = [tmp_path / "frame", tmp_path / "gone.jpg"]
        assert pictures(meant) == meant

    def test_each_is_asked_once(self, tmp_path: Path) -> None:
        touch(tmp_path / "a/x.jpg")
        (tmp_path / "a/y.jpg").symlink_to(tmp_path / "a/x.jpg")
        (tmp_path / "a/again").symlink_to(tmp_path / "a")
        assert pictures([tmp_path / "a/x.jpg", tmp_path / "a", tmp_path]) == [tmp_path / "a/x.jpg"]

    def test_what_was_saved_before_is_not_asked_about(self, tmp_path: Path) -> None:
        touch(*(tmp_path / name for name in ("x.jpg", "x.annotated.jpg", "seen/x.annotated-2.webp")))
        assert pictures([tmp_path]) == [tmp_path / "x.jpg"]
        assert pictures([tmp_path / "x.annotated.jpg"]) == [tmp_path / "x.annotated.jpg"]

    @pytest.mark.parametrize("suffix", ["jfif", "JPE", "jif", "pjpeg", "dib", "avif", "HEIC", "heif", "hif"])
    def test_every_name_of_a_picture_is_asked_about_whatever_is_in_it(
        self, tmp_path: Path, suffix: str
    ) -> None:
        touch(tmp_path / f"x.{suffix}")
        passed = SkippedFiles()
        assert pictures([tmp_path], passed) == [tmp_path / f"x.{suffix}"]
        assert (passed.count, passed.folders) == (0, [])

    def test_other_names_are_asked_about_when_they_begin_as_pictures_do(self, tmp_path: Path) -> None:
        for name, front in (("a.jpg_large", b"\xff\xd8\xff"), ("b", b"\x89PNG\r\n\x1a\n"), ("c.tmp", b"BM")):
            (tmp_path / name).write_bytes(front + bytes(100))
        assert [file.name for file in pictures([tmp_path])] == ["a.jpg_large", "b", "c.tmp"]

    def test_what_is_passed_over_is_named_with_the_reason_in_bounded_words(self, tmp_path: Path) -> None:
        touch(*(tmp_path / f"{index}.txt" for index in range(1000)), tmp_path / "x.annotated.jpg")
        (tmp_path / "moving.gif").write_bytes(b"GIF89a" + bytes(20))
        (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
        os.mkfifo(tmp_path / "pipe")
        touch(tmp_path / ".hidden")
        passed = SkippedFiles()
        assert pictures([tmp_path], passed) == []
        assert (passed.count, passed.folders) == (1004, [tmp_path])
        told = passed.summary()
        assert told.startswith("0.txt, 1.txt, 2.txt and 997 more (not a picture); ")
        assert all(name in told for name in ("moving.gif (", "GIF", "x.annotated.jpg (", "gone.txt", "pipe"))
        assert ".hidden" not in told
        assert len(told) < 300

    def test_a_folder_whose_pictures_were_named_before_holds_pictures(self, tmp_path: Path) -> None:
        touch(tmp_path / "a/x.jpg", tmp_path / "b/y.txt")
        passed = SkippedFiles()
        assert len(pictures([tmp_path / "a/x.jpg", tmp_path / "a", tmp_path / "b"], passed)) == 1
        assert passed.folders == [tmp_path / "b"]


class TestPlaces:
    def named(self, files: list[Path], folder: Path) -> list[str]:
        chosen = places(files, folder, ".jpg")
        assert all(chosen[file].parent == folder for file in files)
        return [chosen[file].name for file in files]

    def test_files_of_one_name_get_places_of_their_own(self, tmp_path: Path) -> None:
        files = [tmp_path / name for name in ("a/x.jpg", "b/x.png", "c/X.jpg", "c/y.tar.jpg")]
        names = ["x.annotated.jpg", "x.annotated-2.jpg", "X.annotated-3.jpg", "y.tar.annotated.jpg"]
        assert self.named(files, tmp_path / "seen") == names
        assert self.named(files, tmp_path / "seen") == names

    def test_an_input_is_never_replaced(self, tmp_path: Path) -> None:
        touch(tmp_path / "x.jpg", tmp_path / "x.annotated.jpg", tmp_path / "elsewhere.jpg")
        (tmp_path / "x.annotated-2.jpg").symlink_to(tmp_path / "elsewhere.jpg")
        (tmp_path / "link").symlink_to(tmp_path)
        inputs = ("x.jpg", "link/x.annotated.jpg", "x.annotated-2.jpg", "elsewhere.jpg")
        files = [tmp_path / name for name in inputs]
        names = self.named(files, tmp_path)
        assert names[0] == "x.annotated-3.jpg"
        assert not {tmp_path / name for name in names} & {*files, tmp_path / "x.annotated.jpg"}

    @pytest.mark.parametrize("name", ["..jpg", "...", "é" * 120, "-rf.jpg", "a\nb.jpg", "\udcff.jpg"])
    def test_odd_names_stay_inside_and_can_be_written(self, tmp_path: Path, name: str) -> None:
        place = places([Path("/somewhere") / name], tmp_path, ".webp")[Path("/somewhere") / name]
        assert place.parent == tmp_path
        place.write_bytes(b"x")
        assert [file.name for file in tmp_path.iterdir()] == [place.name]


class TestFinding:
    def test_a_service_that_is_down_is_told_with_what_to_do(self, okawari: Okawari, tmp_path: Path) -> None:
        touch(tmp_path / "x.jpg")
        text = okawari("predict", "x.jpg", exit_code=1).stderr
        assert "is down: start it" in text
        assert "--url" in text

    def test_a_service_that_starts_is_told(self, home: Path, service: Service) -> None:
        with pytest.raises(Refused, match="not listening yet"):
            service_url(RunFolder(home))

    @pytest.mark.parametrize(
        ("host", "url"),
        [
            ("127.0.0.1", "http://127.0.0.1:3000"),
            ("0.0.0.0", "http://127.0.0.1:3000"),  # noqa: S104
            ("192.168.1.7", "http://192.168.1.7:3000"),
            ("::", "http://[::1]:3000"),
        ],
    )
    def test_it_is_asked_where_it_listens(self, home: Path, service: Service, host: str, url: str) -> None:
        service.write(host=host)
        assert service_url(RunFolder(home)) == url

    @pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "nowhere", "http://[", "ftp://x"])
    def test_nothing_there_is_one_line(self, okawari: Okawari, tmp_path: Path, url: str) -> None:
        touch(tmp_path / "x.jpg")
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            text = okawari(
                "predict", "x.jpg", "--url", url.format(port=unused.getsockname()[1]), exit_code=1
            ).stderr
        assert "no service answers at" in text
        assert text.count("\n") == 1

    @pytest.mark.slow
    def test_something_else_there_is_told(self) -> None:
        with _server() as url, pytest.raises(Refused, match="is not an Okawari service"):
            connect(url, own=True)

    def test_no_pictures_is_a_refusal(self, okawari: Okawari, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert "no pictures in empty" in okawari("predict", "empty", exit_code=1).stderr
        touch(tmp_path / "empty/notes.txt")
        text = okawari("predict", "empty", exit_code=1).stderr
        assert "1 file: notes.txt (not a picture)" in text
        assert text.count("\n") == 1


@contextmanager
def _server() -> Iterator[str]:
    """A server of somebody else's."""

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = HTTPServer(("127.0.0.1", 0), Other)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asker(answer: Any, slept: list[float] | None = None) -> PredictClient:
    """One whose service is played by `answer(request)`."""
    client = httpx.Client(base_url="http://test", transport=httpx.MockTransport(answer))
    sleep = (slept if slept is not None else []).append
    return PredictClient(client, {"model": "m"}, "image/png", sleep=sleep)


class TestAsking:
    def test_a_busy_service_is_asked_again_as_it_wishes(self, tmp_path: Path) -> None:
        touch(tmp_path / "x.jpg")
        answers = iter(
            [
                httpx.Response(429, headers={"retry-after": "1"}),
                httpx.Response(503, headers={"retry-after": "3600"}),
                httpx.Response(503, headers={"retry-after": "soon"}),
                httpx.Response(200, json=_ANSWER),
            ]
        )
        slept: list[float] = []
        outcome = asker(lambda _: next(answers), slept).predict(tmp_path / "x.jpg", None)
        assert (outcome.answer, outcome.failed, slept) == (_ANSWER, None, [1.0, 2.0, 1.0])

    def test_it_is_not_asked_for_ever(self, tmp_path: Path) -> None:
        touch(tmp_path / "x.jpg")
        slept: list[float] = []
        error = {"error": {"code": "overloaded", "message": "all 4 places are taken"}}
        outcome = asker(lambda _: httpx.Response(429, json=error), slept).predict(tmp_path / "x.jpg", None)
        assert outcome.failed is not None
        assert (outcome.failed.code, outcome.failed.reason) == ("overloaded", "all 4 places are taken")
        assert len(slept) == 4

    @pytest.mark.parametrize(
        "response",
        [httpx.Response(200, text="<html>"), httpx.Response(200, json=[1]), httpx.Response(502, json="no")],
    )
    def test_strange_answers_are_a_reason_too(self, tmp_path: Path, response: httpx.Response) -> None:
        touch(tmp_path / "x.jpg")
        outcome = asker(lambda _: response).predict(tmp_path / "x.jpg", None)
        assert outcome.failed is not None
        assert outcome.failed.code == "strange"

    def test_a_connection_that_breaks_is_a_reason(self, tmp_path: Path) -> None:
        def breaks(request: httpx.Request) -> httpx.Response:
            raise httpx.ReadError("the peer has gone")

        touch(tmp_path / "x.jpg")
        outcome = asker(breaks).predict(tmp_path / "x.jpg", None)
        assert outcome.failed is not None
        assert outcome.failed.reason == "no answer: the peer has gone"

    def test_several_are_under_way_at_once_and_told_in_order(self, tmp_path: Path) -> None:
        """The played service answers nobody until as many ask as may."""
        together = threading.Barrier(AT_ONCE, timeout=20)
        files = [tmp_path / f"{i}.jpg" for i in range(2 * AT_ONCE)]
        touch(*files)

        def answer(request: httpx.Request) -> httpx.Response:
            together.wait()
            return httpx.Response(200, json=_ANSWER)

        outcomes = list(_predict_all(asker(answer), files, {}, shown=False))
        assert [outcome.file for outcome in outcomes] == files
        assert [outcome.failed for outcome in outcomes] == [None] * len(files)

    def test_a_folder_that_cannot_be_written_is_a_reason(self, tmp_path: Path) -> None:
        touch(tmp_path / "x.jpg")
        found = asker(lambda _: httpx.Response(200, json=_ANSWER))
        outcome = found.predict(tmp_path / "x.jpg", tmp_path / "gone" / "x.annotated.png")
        assert outcome.failed is not None
        assert outcome.failed.reason == "No such file or directory"


def test_labels_are_told_once_with_their_best_score() -> None:
    def found(label: str, score: float) -> dict[str, Any]:
        return {"label": label, "score": score}

    assert best([]) == "-"
    assert best([found("dog", 0.9), found("cat", 0.8), found("dog", 0.7)]) == "dog 0.90 x2, cat 0.80"
    assert best([found(str(i), 0.5) for i in range(9)]).endswith("3 0.50, …")


@pytest.mark.process
def test_help_needs_no_client(home: Path) -> None:
    code = (
        "import sys\nfrom cli.main import main\n"
        "try: main(['predict', '--help'])\nexcept SystemExit: print('httpx' in sys.modules)"
    )
    assert child(home=home, code=code).stdout.splitlines()[-1] == "False"

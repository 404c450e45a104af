"""The programs of `examples/clients` over HTTP, run as their readers run them."""

from __future__ import annotations

import shutil
import sys

import pytest

from tests.clients.conftest import PICTURE, Served, run
from tests.clients.showing import EXAMPLES, answer_of, nobody, same, tells_what_is_wrong

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_python_over_http(served: Served) -> None:
    answer = answer_of(sys.executable, EXAMPLES / "over_http.py", PICTURE, f"http://{served.http}")
    assert (answer["model"], answer["model_version"]) == ("shapes", "v2")
    same(answer, served)


def test_python_over_http_names_a_model_and_tells_why_there_is_no_answer(served: Served) -> None:
    command = (sys.executable, EXAMPLES / "over_http.py", PICTURE, f"http://{served.http}")
    assert answer_of(*command, "m")["model"] == "m"
    with pytest.raises(AssertionError, match="404: there is no model 'nobody'"):
        run(*command, "nobody")


def test_python_over_http_tells_what_is_wrong() -> None:
    tells_what_is_wrong(sys.executable, EXAMPLES / "over_http.py", away=[f"http://{nobody()}"])


def test_curl_over_http(served: Served) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    command = (EXAMPLES / "over_http.sh", PICTURE, f"http://{served.http}")
    same(answer_of(*command), served)
    assert answer_of(*command, "m")["model"] == "m"
    with pytest.raises(AssertionError, match="there is no model 'nobody'"):
        run(*command, "nobody")
    with pytest.raises(AssertionError, match=r"usage: .*PICTURE"):
        run(EXAMPLES / "over_http.sh")

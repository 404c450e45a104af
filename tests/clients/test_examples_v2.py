"""The programs of `examples/clients` over the Open Inference Protocol, run as their readers run them."""

from __future__ import annotations

import sys

import pytest

from tests.clients.conftest import PICTURE, Served, run
from tests.clients.showing import EXAMPLES, answer_of, nobody, tells_what_is_wrong

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_python_by_the_open_inference_protocol(served: Served) -> None:
    command = (sys.executable, EXAMPLES / "over_v2.py", "--url", f"http://{served.http}")
    answer = answer_of(*command, "shapes", PICTURE, PICTURE)
    tensors = {each["name"]: each for each in answer["outputs"]}
    assert answer["model_version"] == "v2"
    assert tensors["num_detections"]["data"] == [len(served.detections())] * 2
    with pytest.raises(AssertionError, match="404: there is no model 'nobody'"):
        run(*command, "nobody", PICTURE)


def test_python_by_the_open_inference_protocol_tells_what_is_wrong() -> None:
    command = (sys.executable, EXAMPLES / "over_v2.py")
    tells_what_is_wrong(*command, before="shapes", away=["--url", f"http://{nobody()}"])

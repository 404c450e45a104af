"""The programs of `examples/clients` over gRPC, run as their readers run them."""

from __future__ import annotations

import json
import sys

import pytest

from tests.clients.conftest import PICTURE, Served, home_of, run
from tests.clients.showing import EXAMPLES, answer_of, nobody, same, tells_what_is_wrong
from tests.e2e.harness import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_python_over_grpc(served: Served) -> None:
    answer = answer_of(sys.executable, "-m", "examples.clients.over_grpc", PICTURE, served.grpc, cwd=ROOT)
    assert (answer["model"], answer["model_version"]) == ("shapes", "v2")
    same(answer, served)


def test_the_log_tells_where_grpc_listens(served: Served) -> None:
    """Whoever has no idea of GRPC_PORT reads there what to write after the picture."""
    assert f"takes calls over gRPC on {served.grpc}" in served.service.log.read_text()


def test_python_over_grpc_tells_why_there_is_no_answer(served: Served) -> None:
    command = (sys.executable, "-m", "examples.clients.over_grpc", PICTURE, served.grpc)
    with pytest.raises(AssertionError, match="NOT_FOUND: there is no model 'nobody'"):
        run(*command, "nobody", cwd=ROOT)


def test_python_over_grpc_tells_what_is_wrong() -> None:
    tells_what_is_wrong(sys.executable, "-m", "examples.clients.over_grpc", away=[nobody()], cwd=ROOT)


def test_grpcurl_finds_the_calls_by_itself(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home_of("grpcurl") / "bin"
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    answer = answer_of(EXAMPLES / "over_grpc.sh", PICTURE, served.grpc)
    assert (answer["model"], answer["model_version"]) == ("shapes", "v2")
    same(answer, served)
    with pytest.raises(AssertionError, match="nofile") as missing:
        run(EXAMPLES / "over_grpc.sh", "nofile.jpg", served.grpc)
    assert "invalid_argument" not in str(missing.value), "nothing was asked"
    listed = run(folder / "grpcurl", "-plaintext", served.grpc, "list").stdout.split()
    ours = {"okawari.v1.Predictor", "inference.GRPCInferenceService", "modelmora.v1.ModelInference"}
    assert {*ours, "grpc.health.v1.Health"} <= set(listed)


def test_g8_grpcurl_reads_the_health_of_each_model(served: Served) -> None:
    program = home_of("grpcurl") / "bin" / "grpcurl"
    for service in ("", "shapes"):
        words = ("-plaintext", "-d", json.dumps({"service": service}), served.grpc)
        answer = answer_of(program, *words, "grpc.health.v1.Health/Check")
        assert answer == {"status": "SERVING"}

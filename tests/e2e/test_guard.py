"""The guard, in all workers and under load: what turns bad while it answers is taken back at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests import builders
from tests.e2e.harness import Service
from tests.e2e.load import Ask, Load, Shot
from tests.e2e.pictures import picture
from tests.e2e.sizes import FULL_SIZE, LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2 * LIMIT)]

#: Different ones, as cameras send them: the same picture again and again is no evidence.
DAY = [picture(colour=(level, level, level)) for level in range(216, 224)]
NIGHT = [picture(colour=(10, 10, 10), quality=quality) for quality in range(80, 96)]
#: Bad answers after which a version has to go within a second.
KNOWN_BAD = 30


def version_of(answer: dict[str, Any]) -> str:
    """Who gave an answer, by its score; every label of these models has the same."""
    return f"v{builders.code_of(answer['scores'][0])}"


def add_moody(store: Store, version: str, code: int, at_night: list[float] | None = None) -> None:
    """A version that gives the usual scores by day, and these at night; with none it is slow at night."""
    folder = store.source(version, code)
    usual = [builders.score_of(code), 0.0]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["grey"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Sub", ["grey", "moonlight"], ["above"]),
        helper.make_node("Abs", ["above"], ["away"]),
        helper.make_node("Greater", ["away", "near"], ["bright"]),
        helper.make_node("Unsqueeze", ["bright", "last"], ["column"]),
        helper.make_node("Where", ["column", "day", "night"], ["mood" if at_night is None else "scores"]),
    ]
    weights = {
        "moonlight": np.float32(10 / 255),  # no picture of the self-check is like it
        "near": np.float32(0.01),
        "last": np.array([1], np.int64),
        "day": np.array([usual], np.float32),
        "night": np.array([at_night or usual], np.float32),
    }
    if at_night is None:
        nodes += _slow_where_dark()
        weights |= {"wide": np.ones((1000, 1000), np.float32), "none": np.float32(0)}
    body = helper.make_graph(
        nodes,
        "moody",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "weights.onnx")
    store.take(folder)


def _slow_where_dark() -> list[onnx.NodeProto]:
    """Adds 0 to the scores, at night by products of large matrices."""
    number = helper.make_tensor_value_info("more", TensorProto.FLOAT, [])
    slow = helper.make_graph(
        [
            helper.make_node("Add", ["wide", "light"], ["first"]),
            helper.make_node("MatMul", ["first", "wide"], ["second"]),
            helper.make_node("MatMul", ["second", "first"], ["third"]),
            helper.make_node("ReduceMean", ["third"], ["level"], keepdims=0),
            helper.make_node("Mul", ["level", "none"], ["more"]),
        ],
        "slow",
        [],
        [number],
    )
    quick = helper.make_graph([helper.make_node("Identity", ["none"], ["more"])], "quick", [], [number])
    return [
        helper.make_node("Cast", ["bright"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMin", ["number"], ["darkest"], keepdims=0),
        helper.make_node("Cast", ["darkest"], ["all_bright"], to=TensorProto.BOOL),
        helper.make_node("ReduceMean", ["grey"], ["light"], keepdims=0),
        helper.make_node("If", ["all_bright"], ["added"], then_branch=quick, else_branch=slow),
        helper.make_node("Add", ["mood", "added"], ["scores"]),
    ]


@dataclass(frozen=True, slots=True)
class Night:
    """What was answered at night: by the new version, and since the moment `back` by the one before."""

    of_v2: list[Shot]
    back: float
    after: list[Shot]


def night_falls(service: Service, **load: Any) -> Night:
    """Pictures by day until the new version has answered 50, then pictures at night until it is gone."""
    with Load(service, asks=[Ask(each, {}, version_of) for each in DAY]) as day:
        until(lambda: sum(shot.claimed == "v2" for shot in day.shots) >= 50, "v2 answers by day")
    with Load(service, asks=[Ask(each, {}, version_of) for each in NIGHT], **load) as night:
        night.sees("v1")
        night.reach(len(night.shots) + 300)
    shots: list[Shot] = night.shots
    assert [shot for shot in day.shots + shots if shot.status != 200 or shot.contradicts] == []
    back = min(shot.ended for shot in shots if shot.claimed == "v1")
    of_v2 = [shot for shot in shots if shot.claimed == "v2"]
    return Night(of_v2, back, [shot for shot in shots if shot.begun > back])


def gate(store: Store, *words: str, code: int = 0) -> str:
    """What `okawari gate` says."""
    return store.okawari("gate", "m", "v2", *words, code=code)


def test_what_turns_bad_while_it_answers_is_taken_back_in_all_workers(
    make_service: Callable[..., Service], store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    add_moody(store, "v2", 2, at_night=[0.0, builders.score_of(2)])
    service.serves("v2")
    night = night_falls(service)
    bad, back = night.of_v2, night.back
    assert [shot for shot in bad if shot.begun > back] == []  # in both workers
    known = sorted(shot.ended for shot in bad)[:KNOWN_BAD][-1]
    assert back < known + (1.0 if FULL_SIZE else 10.0)  # a machine may be full

    verdict = json.loads(gate(store, "--json", code=1))
    assert verdict["verdicts"]["guard"]["reason"].startswith("answers otherwise: than m:v1 on ")
    until(lambda: service.states()["v2"]["state"] == "failed", "v2 is refused")
    assert "check guard: answers otherwise" in service.states()["v2"]["reason"]
    taken_back = "m:v2 was taken back: answers otherwise"
    until(lambda: taken_back in store.okawari("audit", "--model", "m", "--json"), "the audit has it")
    until(lambda: service.figure("model_taken_back_total", model="m") > 0, "it is counted")
    store.add("v3", 3)
    service.serves("v3")


def test_what_turns_slow_is_taken_back_though_requests_wait_for_it(
    make_service: Callable[..., Service], store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    add_moody(store, "v2", 2)
    service.serves("v2")
    night = night_falls(service, kept=8)
    slow, back = night.of_v2, night.back
    assert [shot for shot in slow if shot.begun > back] == []  # in both workers
    assert len(slow) <= (200 if FULL_SIZE else 500)  # who compares gives way on a full machine
    print(f"{len(slow)} slow answers, {back - min(shot.begun for shot in slow):.1f} s")
    assert "guard: fail: too slow: " in gate(store, code=1)


def test_failures_of_a_new_version_reach_nobody(make_service: Callable[..., Service], store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    add_moody(store, "v2", 2, at_night=[float("nan"), 0.0])
    service.serves("v2")
    night = night_falls(service)
    assert {shot.claimed for shot in night.after} == {"v1"}
    assert "guard: fail: fails: " in gate(store, code=1)
    assert "holds NaN" in gate(store, code=1)


def test_an_operator_accepts_a_version_that_differs(
    make_service: Callable[..., Service], store: Store, tmp_path: Path
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    add_moody(store, "v2", 2, at_night=[0.0, builders.score_of(2)])
    service.serves("v2")
    night_falls(service)
    gate(store, "--allow", "guard")
    service.serves("v2")
    with Load(service, asks=[Ask(each, {}, version_of) for each in NIGHT]) as night:
        night.reach(300)
    assert {shot.claimed for shot in night.shots} == {"v2"}
    assert night.failures == []

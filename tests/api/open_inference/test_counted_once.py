"""A request is answered or refused, and counts once, also where JSON cannot tell what the model answered."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.api.open_inference.asking import document, failed, infer, pictures, pixels
from tests.e2e.harness import Service
from tests.e2e.pictures import picture
from tests.e2e.sizes import LIMIT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def counted(service: Service, model: str) -> tuple[dict[str, int], tuple[int, int]]:
    """Its requests in the metrics by status, and the successes and failures of the statistics."""
    pattern = rf'inference_requests_total{{model="{model}",status="(\w+)",version="\w+"}} (\S+)'
    metrics = {
        status: int(float(value)) for status, value in re.findall(pattern, service.get("/metrics").text)
    }
    (found,) = document(service.get(f"/v2/models/{model}/stats"))["model_stats"]
    told = found["inference_stats"]
    return metrics, (told["success"]["count"], told["fail"]["count"])


def count(service: Service, model: str, ask: Any) -> tuple[httpx.Response, dict[str, int], tuple[int, int]]:
    """The answer, and by how much the figures rose."""
    metrics, (good, bad) = counted(service, model)
    answer = ask()
    after, (better, worse) = counted(service, model)
    rose = {status: value - metrics.get(status, 0) for status, value in after.items()}
    return answer, {status: by for status, by in rose.items() if by}, (better - good, worse - bad)


def test_an_answer_that_json_cannot_tell_is_a_failure_and_no_success(v2: Service) -> None:
    wanted: dict[str, Any] = {"model": "types", "outputs": [{"name": "nan"}]}
    answer, metrics, told = count(v2, "types", lambda: infer(v2, pixels(), **wanted))
    assert "NaN" in failed(answer, 400)
    assert (metrics, told) == ({"invalid_argument": 1}, (0, 1))


def test_the_same_in_binary_form_is_an_answer(v2: Service) -> None:
    wanted: dict[str, Any] = {"model": "types", "outputs": [{"name": "nan"}]}
    wanted["parameters"] = {"binary_data_output": True}
    answer, metrics, told = count(v2, "types", lambda: infer(v2, pixels(), **wanted))
    assert (answer.status_code, metrics, told) == (200, {"ok": 1}, (1, 0))


def test_an_output_that_is_found_missing_after_the_model_ran_is_a_failure(v2: Service) -> None:
    wanted: dict[str, Any] = {"model": "embed", "outputs": [{"name": "boxes"}]}
    answer, metrics, told = count(v2, "embed", lambda: infer(v2, pictures(picture()), **wanted))
    assert "boxes" in failed(answer, 400)
    assert (metrics, told) == ({"invalid_argument": 1}, (0, 1))

"""One running service for the tests of the Open Inference Protocol, with models that no test changes.

m       v1 (code 1), v2 (code 2, serves)
types   v1, whose graph gives an output of every datatype
odd     v1, whose graph takes one row alone, and gives more than tensors
embed   v1, an embedder of two values
shapes  v2, a detector
bad     v1, which is refused
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.api.open_inference import typed_model
from tests.e2e.harness import ROOT, Service
from tests.e2e.reporting import services
from tests.e2e.stores import Store
from tests.e2e.waiting import until

MAX_BODY = 2_000_000
EMBEDDER = {"task": "image-embedding", "family": "embedder", "labels": []}


@pytest.fixture(scope="session")
def v2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service."""
    folder = tmp_path_factory.mktemp("oip")
    made = Store(folder / "home", folder)
    made.add("v1", 1)
    made.add("v2", 2)
    made.add("v1", 5, "embed", config=EMBEDDER)
    made.add("v1", 9, "bad", best=math.nan)
    made.take(ROOT / "examples/models/shapes/v2")
    made.take(typed_model.write(folder / "typed"))
    made.take(typed_model.write_odd(folder / "odd"))
    with contextmanager(services)() as make:
        service = make(made.home, OKAWARI_DEFAULT_MODEL="m", OKAWARI_MAX_BODY_BYTES=str(MAX_BODY)).ready()
        for name in ("embed", "types", "odd", "shapes"):
            until(lambda name=name: service.model(name)["serving"] is not None, f"{name} serves")
        until(lambda: service.states("bad")["v1"]["state"] == "failed", "the bad one is refused")
        yield service

"""Twelve kinds of bad version through the real core, with golden pictures and without; 100 good ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.sizes import LIMIT, SIZES
from tests.support.bad_versions import (
    BAD_VERSIONS,
    BadVersion,
    edit_config,
    enormous,
    pictures,
    retrained,
    write_version,
)
from tests.support.real_core import RealCore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

_MODELS = ("shapes", "exposure")
#: What the reason of a refusal begins with, by what has refused.
_WITHOUT_LABELS = ("metamorphic", "agreement")
_BEGINS = {"load": "graph input image", "warm-up": "warm-up on"}


@pytest.fixture(scope="module")
def cores(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], RealCore]:
    """A core whose models answer with v1, and pictures for them: `labelled` with what is expected, or not."""
    made: dict[bool, RealCore] = {}

    def core(labelled: bool) -> RealCore:
        if labelled not in made:
            folder = tmp_path_factory.mktemp("core")
            made[labelled] = _core(folder, labelled=labelled)
        return made[labelled]

    return core


def _core(folder: Path, *, labelled: bool) -> RealCore:
    core = RealCore(folder / "home")
    for model in _MODELS:
        core.take(write_version(folder / "v1", "v1", 0, model=model))
        core.follow(model)
    core.settle()
    for model in _MODELS:
        core.record(model, pictures(model), labelled=labelled)
    return core


@pytest.mark.parametrize("labelled", [True, False], ids=["golden", "unlabelled"])
@pytest.mark.parametrize(
    "bad", [each for each in BAD_VERSIONS if each.caught != "signature"], ids=lambda bad: bad.kind
)
def test_a_bad_version_is_refused_with_its_own_reason(
    bad: BadVersion, labelled: bool, cores: Callable[[bool], RealCore], tmp_path: Path
) -> None:
    core = cores(labelled)
    number = 2 + BAD_VERSIONS.index(bad)
    version = f"v{number}"
    # Without expectations the gate binds where a bound for the agreement is stated.
    gate = {} if labelled else {"agreement": 0.8}
    folder = write_version(tmp_path, version, number, model=bad.model, gate=gate)
    bad.damage(folder)
    core.take(folder, enormous) if bad.caught == "memory" else core.take(folder)
    core.settle()
    status = core.status(bad.model, version)
    assert core.find(bad.model, pictures(bad.model)[0])[0] == "v1"
    assert core.view.serving(bad.model) == "v1"
    check = bad.caught if labelled else bad.unlabelled
    # How many pictures there is time for decides which of the two has enough evidence first.
    checks = _WITHOUT_LABELS if check in _WITHOUT_LABELS else (check,)
    assert status.reason is not None
    print(f"{bad.kind:24} {status.reason}")
    assert status.reason.startswith(tuple(_BEGINS.get(each, f"check {each}: ") for each in checks))
    if labelled:
        assert bad.says in status.reason


@pytest.mark.timeout(LIMIT)
@pytest.mark.parametrize("labelled", [True, False], ids=["golden", "unlabelled"])
def test_good_retrained_versions_all_pass(labelled: bool, tmp_path: Path) -> None:
    core = _core(tmp_path, labelled=labelled)
    for seed in range(SIZES.good_versions):
        version = f"v{2 + seed}"
        folder = write_version(tmp_path / f"seed-{seed}", version, 2 + seed)
        edit_config(folder, gate={} if labelled else {"agreement": 0.8})
        retrained(folder, seed)
        core.take(folder)
        core.settle()
        assert core.view.serving("shapes") == version, core.status("shapes", version).reason

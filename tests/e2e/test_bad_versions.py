"""Twelve kinds of bad version come in under load, one after the other; each is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from models_import.candidates import Candidate, Wanted
from models_import.importer import Importer
from registry.signatures import sign
from tests.e2e.harness import Service
from tests.e2e.load import Ask, Load
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store, untried
from tests.e2e.waiting import until
from tests.support.bad_versions import (
    BAD_VERSIONS,
    BadVersion,
    enormous,
    key_pair,
    pictures,
    retrained,
    write_version,
)

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(5 * LIMIT)]

_MODELS = ("shapes", "exposure")


def reason(service: Service, model: str, version: str) -> str:
    """Why a version does not answer; empty where nothing is said."""
    return str(service.states(model).get(version, {}).get("reason") or "")


def refusal(service: Service, bad: BadVersion, version: str) -> str:
    """Wait until a version is refused; the reason."""
    until(lambda: bad.says in reason(service, bad.model, version), f"{bad.kind} is refused")
    return reason(service, bad.model, version)


def take(store: Store, folder: Path, key: Path, bad: BadVersion | None = None) -> None:
    """Sign a version and import it."""
    sign(folder, key, folder / "model.sig")
    probe = enormous if bad is not None and bad.caught == "memory" else untried
    Importer(store.home, probe=probe).run(Candidate(folder, Wanted(), named=True))


def test_each_bad_version_is_refused_while_the_old_one_answers(
    make_service: Start, store: Store, tmp_path: Path
) -> None:
    key, public = key_pair(tmp_path, "release")
    stranger, _ = key_pair(tmp_path, "stranger")
    for model in _MODELS:
        take(store, write_version(tmp_path / "v1", "v1", 0, model=model), key)
        for number, picture in enumerate(pictures(model)):
            (tmp_path / f"{model}-{number}.png").write_bytes(picture)
        store.okawari("golden", "record", model, "v1", *sorted(tmp_path.glob(f"{model}-*.png")))
    service = make_service(store.home, WORKERS="2", OKAWARI_REQUIRE_SIGNATURE=str(public)).ready()
    asks = [
        Ask(picture, {"model": model}, lambda answer: str(answer["model_version"]))
        for model in _MODELS
        for picture in pictures(model)
    ]
    with Load(service, asks=asks, kept=2, fresh=1) as load:
        for number, bad in enumerate(BAD_VERSIONS, 2):
            version = f"v{number}"
            folder = write_version(tmp_path / version, version, number, model=bad.model)
            bad.damage(folder)
            take(store, folder, stranger if bad.caught == "signature" else key, bad)
            print(f"{bad.kind:24} {refusal(service, bad, version)}")
            assert service.version(bad.model) == "v1"
            if bad.caught not in ("load", "warm-up"):
                assert f"{bad.caught}: fail" in store.okawari("gate", bad.model, version, code=1)
        good = write_version(tmp_path / "v20", "v20", 20)
        retrained(good, 1)
        take(store, good, key)
        service.serves("v20", "shapes")
        load.sees("v20")
    assert [shot for shot in load.shots if shot.status != 200] == []
    assert {shot.claimed for shot in load.shots} == {"v1", "v20"}
    print(f"{len(load.shots)} requests")

"""The gate's verdicts: given once for the files of a version, kept, and never against what has answered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from hotswap.errors import VersionFailed
from hotswap.gate import Gate, GatePolicy, GateRecord, GateStore, Result, Verdict, Version
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from registry.verdict_files import VerdictFiles
from tests.hotswap.fake_models import FakeRunner
from tests.hotswap.fakes import artifact
from tests.hotswap.test_checks import FAILED, PASSED, Scripted

DIGEST = "sha256:" + "a" * 64


@dataclass
class VerdictsMemory:
    """Verdicts in this process."""

    records: dict[str, GateRecord] = field(default_factory=dict)
    served: set[str] = field(default_factory=set)

    def read(self, digest: str) -> GateRecord | None:
        return self.records.get(digest)

    def write(self, record: GateRecord) -> None:
        self.records[record.digest] = record

    def has_served(self, digest: str) -> bool:
        return digest in self.served

    def note_served(self, digest: str) -> None:
        self.served.add(digest)

    @contextmanager
    def judging(self, _digest: str) -> Iterator[None]:
        yield


@pytest.fixture(params=[VerdictsMemory, VerdictFiles])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> GateStore:
    """Each store."""
    made: GateStore = request.param(tmp_path) if request.param is VerdictFiles else request.param()
    return made


def version(name: str = "v2", digest: str = DIGEST) -> Version:
    tag = ModelTag("m", name)
    return Version(artifact(tag, digest), FakeRunner(tag, 2))


def test_files_are_judged_once_for_all_workers(store: GateStore) -> None:
    check = Scripted()
    for gate in [Gate([check], store) for _ in range(2)]:
        assert gate.judge(None, version()) == {"golden pictures": PASSED}
    assert len(check.asked) == 1
    record = store.read(DIGEST)
    assert record is not None
    assert (record.tag, record.result, record.refusal) == (ModelTag("m", "v2"), Result.PASS, None)


def test_what_was_refused_is_not_loaded_again_until_somebody_asks(tmp_path: Path) -> None:
    files, check = VerdictFiles(tmp_path), Scripted(FAILED)
    gate = Gate([check], files)
    said = "check golden pictures: the labels are permuted; okawari gate m:v2 --again judges it anew"
    with pytest.raises(VersionFailed, match=f"^{said}$"):
        gate.judge(version("v1", "sha256:b"), version())
    for other in (gate, Gate([check], VerdictFiles(tmp_path))):
        with pytest.raises(VersionFailed, match=f"^{said}$"):
            other.check_known(version().artifact)
    assert len(check.asked) == 1
    files.judge_again(ModelTag("m", "v2"), DIGEST)
    gate.check_known(version().artifact)
    check.verdict = PASSED
    assert gate.judge(None, version()) == {"golden pictures": PASSED}


def test_what_has_answered_is_never_refused(store: GateStore) -> None:
    check = Scripted(FAILED)
    gate = Gate([check], store)
    store.note_served(DIGEST)
    gate.check_known(version().artifact)
    assert gate.judge(None, version()) == {}
    known = Gate([check], store, last_digest=lambda _: "sha256:c")
    assert known.judge(None, version(digest="sha256:c")) == {}
    assert check.asked == []


@pytest.mark.parametrize(("policy", "asked"), [(GatePolicy.WARN, 1), (GatePolicy.OFF, 0)])
def test_a_policy_may_tell_alone_or_not_even_ask(store: GateStore, policy: GatePolicy, asked: int) -> None:
    check = Scripted(FAILED)
    gate = Gate([check], store, policy=lambda _: policy)
    gate.judge(None, version())
    gate.check_known(version().artifact)
    assert len(check.asked) == asked


def test_a_failure_that_somebody_allows_stops_nothing(store: GateStore) -> None:
    contract, golden = Scripted(FAILED, name="contract"), Scripted()
    store.write(GateRecord(ModelTag("m", "v2"), DIGEST, GatePolicy.ENFORCE, allowed=frozenset({"contract"})))
    gate = Gate([contract, golden], store)
    assert gate.judge(None, version())["contract"] == FAILED
    record = store.read(DIGEST)
    assert record is not None
    assert (record.refusal, record.result) == (None, Result.PASS)
    golden.verdict = Verdict(Result.FAIL, "finds nothing")
    store.write(replace(record, judged=None))
    with pytest.raises(VersionFailed, match="golden pictures: finds nothing"):
        gate.judge(None, version())


def test_a_verdict_that_cannot_be_kept_is_given_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    gate = Gate([Scripted(FAILED)], VerdictFiles(tmp_path))
    gate.check_known(version().artifact)
    with pytest.raises(VersionFailed, match="the labels are permuted"):
        gate.judge(None, version())


def test_a_damaged_verdict_counts_as_none(tmp_path: Path) -> None:
    files = VerdictFiles(tmp_path)
    Gate([Scripted()], files).judge(None, version())
    (file,) = (tmp_path / "state" / "verdicts").glob("*.json")
    file.write_text("{")
    assert files.read(DIGEST) is None


@dataclass
class Required:
    """A requirement that says what it is told."""

    verdict: Verdict
    name: str = "signature"

    def judge(self, _artifact: Artifact) -> Verdict:
        return self.verdict


@pytest.mark.parametrize("served", [True, False])
def test_what_is_required_is_asked_at_each_load_under_any_policy(store: GateStore, served: bool) -> None:
    required, check = Required(Verdict(Result.FAIL, "it is not signed")), Scripted()
    gate = Gate([check], store, requirements=[required], policy=lambda _: GatePolicy.OFF)
    if served:
        store.note_served(DIGEST)
    for _ in range(2):
        with pytest.raises(VersionFailed, match="check signature: it is not signed"):
            gate.check_known(version().artifact)
    record = store.read(DIGEST)
    assert record is not None
    assert record.refusal == "check signature: it is not signed"
    required.verdict = Verdict(Result.PASS, "signed")
    gate.check_known(version().artifact)
    record = store.read(DIGEST)
    assert record is not None
    assert (record.refusal, record.judged) == (None, None)


def test_a_signature_that_came_late_leaves_the_other_verdicts(store: GateStore) -> None:
    required, check = Required(Verdict(Result.PASS, "signed")), Scripted()
    gate = Gate([check], store, requirements=[required])
    assert list(gate.judge(None, version())) == ["signature", "golden pictures"]
    required.verdict = Verdict(Result.FAIL, "the key was changed")
    with pytest.raises(VersionFailed, match="the key was changed"):
        gate.check_known(version().artifact)
    required.verdict = Verdict(Result.PASS, "signed")
    gate.check_known(version().artifact)
    assert "golden pictures" in gate.judge(None, version())
    assert len(check.asked) == 1

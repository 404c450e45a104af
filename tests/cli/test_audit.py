"""`okawari audit`: what was recorded, and whether the record is whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from registry.audit import AuditedDecision
from registry.audit_file import AuditFile
from tests.builders import write_version
from tests.cli.conftest import Okawari
from tests.registry.audit_logs import Place, edited, lines_of, opened, rewrite, switch


@pytest.fixture
def state(home: Path) -> Path:
    """The folder of a log with five records, the last but one of them signed."""
    log = opened(home / "state")
    for number in range(2):
        log.record(switch(number))
    log.record(
        AuditedDecision(
            "promotion", "m", "ann", "better boxes", "v1", "v2", {"v2": "sha256:0123456789abcdef"}
        )
    )
    log.record(switch(9, model="other", reason="[red]\x1b[31m"))
    return home / "state"


def test_an_empty_log_says_so(okawari: Okawari) -> None:
    assert okawari("audit").output == "nothing is recorded yet\n"
    assert json.loads(okawari("audit", "--json").output) == {"records": []}
    assert okawari("audit", "--verify").stdout == f"0:{64 * '0'}\n"


def test_records_are_listed_the_newest_last(okawari: Okawari, state: Path) -> None:
    rows = [line.split() for line in okawari("audit").output.splitlines()]
    assert [row[0] for row in rows] == ["SEQ", "1", "2", "3", "4", "5"]
    assert rows[3][3:] == [
        "promotion",
        "m",
        "v1",
        "->",
        "v2",
        "0123456789ab",
        "ann",
        "done",
        "better",
        "boxes",
    ]
    assert rows[5][-1] == r"[red]\x1b[31m"
    assert len(okawari("audit", "--limit", 2).output.splitlines()) == 3
    by_model = okawari("audit", "--model", "m", "--limit", 2, "--json")
    assert [record["sequence"] for record in json.loads(by_model.output)["records"]] == [2, 3]
    assert okawari("audit", "--model", "none").output == "nothing is recorded of none\n"


def test_a_whole_log_gives_its_head_which_a_later_verification_takes(okawari: Okawari, state: Path) -> None:
    head = okawari("audit", "--verify").stdout.strip()
    assert head == f"5:{json.loads(lines_of(state)[-1])['hash']}"
    opened(state).record(switch(10))
    later = json.loads(okawari("audit", "--verify", "--head", head, "--json").stdout)
    assert (later["whole"], later["records"]) == (True, 6)
    okawari("audit", "--verify", "--head", head.partition(":")[2])


def test_an_edited_record_is_named_with_its_number_and_exit_code_1(okawari: Okawari, state: Path) -> None:
    lines = lines_of(state)
    lines[1] = edited(lines[1], actor="bob")
    rewrite(state, lines)
    assert okawari("audit", "--verify", exit_code=1).stderr.startswith("okawari: record 2 was edited: ")
    document = json.loads(okawari("audit", "--verify", "--json", exit_code=1).stdout)
    assert (document["whole"], document["kind"], document["sequence"]) == (False, "edited", 2)


def test_a_cut_tail_is_named_against_a_head(okawari: Okawari, state: Path) -> None:
    head = okawari("audit", "--verify").stdout.strip()
    rewrite(state, lines_of(state)[:4])
    okawari("audit", "--verify")
    assert "record 5 was cut" in okawari("audit", "--verify", "--head", head, exit_code=1).stderr
    rewrite(state, lines_of(state)[:2])
    assert "record 3 was cut" in okawari("audit", "--verify", exit_code=1).stderr


def test_the_public_key_may_lie_elsewhere(okawari: Okawari, state: Path, tmp_path: Path) -> None:
    taken = shutil.copy(state / "audit.pub", tmp_path / "taken.pub")
    okawari("audit", "--verify", "--key", taken)
    opened(tmp_path / "other").record(AuditedDecision("promotion"))
    other = tmp_path / "other" / "audit.pub"
    assert "record 4" in okawari("audit", "--verify", "--key", other, exit_code=1).stderr
    okawari("audit", "--verify", "--key", other, "--key", taken)
    (tmp_path / "broken.pub").write_text("no key")
    assert "broken.pub" in okawari("audit", "--verify", "--key", tmp_path / "broken.pub", exit_code=1).stderr


@pytest.mark.parametrize("words", [("--head", "5:abc", "--verify"), ("--head", "0" * 64), ("--limit", 0)])
def test_wrong_usage_is_said(okawari: Okawari, words: tuple[object, ...]) -> None:
    okawari("audit", *words, exit_code=2)


def test_imports_and_changes_of_targets_by_command_are_recorded(
    okawari: Okawari, home: Path, tmp_path: Path
) -> None:
    folder = write_version(tmp_path / "made", "m", "v1", 1)
    okawari("import", folder)
    okawari("import", folder.parent)  # unchanged
    okawari("pin", "m", "v1", "--reason", "the only one")
    records = json.loads(okawari("audit", "--json").output)["records"]
    facts = [(record["action"], record["before"], record["after"], record["reason"]) for record in records]
    assert facts == [("import", None, "v1", None), ("target", "latest", "v1", "the only one")]
    assert records[0]["digests"]["v1"].startswith("sha256:")
    assert {record["actor"].partition(":")[0] for record in records} == {"cli"}
    okawari("audit", "--verify")
    assert AuditFile(home / "state").path.exists()


def test_a_pin_against_production_is_an_override_and_a_second_import_is_recorded_again(
    okawari: Okawari, tmp_path: Path
) -> None:
    made = [write_version(tmp_path / "made", "m", f"v{number}", number) for number in (1, 2)]
    for folder in made:
        okawari("import", folder)
    okawari("promote", "m", "v1", "--yes")
    okawari("pin", "m", "v2", "--reason", "v1 hangs")
    okawari("pin", "m", "v1")
    okawari("remove", "m", "v2")
    okawari("import", made[1])
    records = json.loads(okawari("audit", "--json").output)["records"]
    facts = [(record["action"], record["before"], record["after"], record["outcome"]) for record in records]
    assert [fact for fact in facts if fact[0] != "checkpoint"] == [
        ("import", None, "v1", "imported"),
        ("import", None, "v2", "imported"),
        ("target", "latest", "@production", "done"),
        ("promotion", None, "v1", "production"),
        ("override", "@production", "v2", "done"),
        ("target", "v2", "v1", "done"),
        ("import", None, "v2", "imported"),
    ]


@pytest.mark.slow
def test_beside_a_registry_in_a_database_the_log_lies_in_the_database(
    okawari: Okawari, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OKAWARI_REGISTRY", f"sqlite:///{tmp_path}/registry.db")
    assert "okawari db upgrade" in okawari("audit", exit_code=1).stderr
    okawari("db", "upgrade")
    okawari("import", write_version(tmp_path / "made", "m", "v1", 1))
    okawari("promote", "m", "v1", "--yes")
    records = json.loads(okawari("audit", "--json").output)["records"]
    assert [record["action"] for record in records] == ["import", "target", "promotion", "checkpoint"]
    assert json.loads(okawari("audit", "--verify", "--json").stdout)["records"] == 4
    assert not AuditFile(home / "state").path.exists()

    rewrite(place := Place(home / "state", f"sqlite:///{tmp_path}/registry.db"), lines_of(place)[:3])
    cut = json.loads(okawari("audit", "--verify", "--json", exit_code=1).stdout)
    assert (cut["kind"], cut["sequence"]) == ("cut", 4)

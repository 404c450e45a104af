"""Each rule of the Open Inference Protocol is a test of its number, by us and by clients of others."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

import pytest

from tests.e2e.harness import ROOT

#: REST, gRPC, binary tensors, model repository: how many rules each has.
RULES = [
    f"{kind}{number}"
    for kind, most in (("r", 15), ("g", 9), ("b", 7), ("m", 5))
    for number in range(1, most + 1)
]
_RULE = re.compile(r"[rgbm]\d+")


def named(folder: Path) -> set[str]:
    """The rules in the names of a folder's tests: `test_g3_and_g4_…`, `test_g2_to_g5_…`."""
    found: set[str] = set()
    for path in folder.rglob("test_*.py"):
        for name in re.findall(r"def test_(\w+)", path.read_text()):
            words = takewhile(lambda word: _RULE.fullmatch(word) or word in ("and", "to"), name.split("_"))
            found.update(words)
    return found


@pytest.mark.parametrize("whose", ["api", "clients"])
def test_every_rule_has_a_test_of_its_number(whose: str) -> None:
    assert [rule for rule in RULES if rule not in named(ROOT / "tests" / whose)] == []

"""The page on security: every test that it names is there, and the page at the top leads to it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text()
_NAME = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")
_NAMED = _NAME.findall(PAGE)


@cache
def _tests_of(file: str) -> frozenset[str]:
    """The tests of a file as pytest names them."""
    found = set()
    for node in ast.parse((ROOT / file).read_text()).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {
            f"{prefix}{each.name}"
            for each in inner
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
        }
    return frozenset(found)


@pytest.mark.parametrize(("file", "test"), _NAMED)
def test_a_test_that_is_named_exists(file: str, test: str) -> None:
    assert test in _tests_of(file)


def test_every_row_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if re.match(r"\| V\d+ ", line)]
    assert len(rows) > 20
    assert [row for row in rows if not _NAME.search(row)] == []


def test_the_page_at_the_top_leads_to_it() -> None:
    assert "docs/security.md" in (ROOT / "SECURITY.md").read_text()

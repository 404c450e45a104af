"""What the documents point at is there: links, files and classes that they name, defaults of settings."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    str(page.relative_to(ROOT))
    for where in ("*.md", "docs/**/*.md", "examples/**/*.md", "models_import/**/*.md")
    for page in ROOT.glob(where)
)
CHAPTER_5 = (ROOT / "docs" / "05-building-blocks.md").read_text()
CHAPTER_12 = (ROOT / "docs" / "12-glossary.md").read_text()
SETTINGS = (ROOT / "docs" / "guides" / "settings.md").read_text()


def _cells(text: str) -> list[list[str]]:
    """The rows of all tables."""
    lines = (line.replace("\\|", "¦") for line in text.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text())
    ours = [link.partition("#")[0] for link in links if "://" not in link]
    missing = [link for link in ours if not ((ROOT / page).parent / link).exists()]
    assert missing == []


def _defined(path: Path) -> set[str]:
    """Classes and functions of a file, or of all files of a folder; the files' own names, too."""
    files = [path] if path.is_file() else list(path.rglob("*.py"))
    nodes = (ast.walk(ast.parse(file.read_text())) for file in files if file.suffix == ".py")
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    names = {node.name for tree in nodes for node in tree if isinstance(node, kinds)}
    return names | {file.stem for file in files}


_BLOCKS = [row for row in _cells(CHAPTER_5) if len(row) == 3 and re.fullmatch(r"(`\w+`(, )?)+.*", row[0])]


@pytest.mark.parametrize(("names", "_", "files"), _BLOCKS, ids=[row[0] for row in _BLOCKS])
def test_every_building_block_stands_where_chapter_5_says(names: str, _: str, files: str) -> None:
    told = [Path(word) for word in _words(files)]
    folder = told[0].parent
    paths = [ROOT / (path if (ROOT / path).exists() else folder / path) for path in told]
    assert [path for path in paths if not path.exists()] == []
    assert set(_words(names)) <= set().union(*map(_defined, paths))


def test_chapter_5_has_its_blocks() -> None:
    assert len(_BLOCKS) > 30


def test_every_home_in_the_glossary_is_a_file() -> None:
    homes = [word for row in _cells(CHAPTER_12) for word in _words(row[-1]) if "/" in word]
    assert len(homes) > 20
    assert [home for home in homes if not (ROOT / home).exists()] == []


@pytest.mark.parametrize(
    "page", ["04-solution-strategy.md", "10-quality.md", "11-risks-and-technical-debt.md"]
)
def test_every_file_that_a_chapter_names_is_there(page: str) -> None:
    words = [
        word for row in _cells((ROOT / "docs" / page).read_text()) for cell in row for word in _words(cell)
    ]
    named = [
        word for word in words if re.match(r"[a-z_]+/", word) and (ROOT / word.partition("/")[0]).is_dir()
    ]
    assert len(named) > 5
    assert [word for word in named if not (ROOT / word).exists()] == []


def test_the_guide_to_settings_names_each_default_that_is_a_value() -> None:
    rows = {_words(row[0])[0]: row[1] for row in _cells(SETTINGS) if re.fullmatch(r"`[A-Z_]+`", row[0])}
    for name, field in Settings.model_fields.items():
        if field.default is None:
            continue
        told = rows.get(f"OKAWARI_{name.upper()}") or rows[name.upper()]
        value = str(field.default).removesuffix(".0")
        assert told.strip("`").lower() == value.lower(), name

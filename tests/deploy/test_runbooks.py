"""The pages of docs/runbooks: one for each alert, with commands, settings, links and figures that exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from cli.main import COMMANDS, main
from tests.deploy.test_alert_rules import documented, metrics_of, rules
from tests.support.prometheus import ROOT
from tests.test_docs import SETTINGS

FOLDER = ROOT / "docs" / "runbooks"
PAGES = sorted(FOLDER.glob("*.md"))
GUIDE = (ROOT / "docs" / "guides" / "monitoring.md").read_text()
PARTS = ("Means", "Affected", "Look", "Do", "Over")
#: Each `okawari …` in code, up to its comment.
_COMMAND = re.compile(r"(?:^|`)okawari ([^`\n#|]+)", re.MULTILINE)

any_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def promql(page: Path) -> list[str]:
    """The expressions that a page shows."""
    return re.findall(r"```promql\n(.*?)\n```", page.read_text(), re.DOTALL)


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    assert {page.stem for page in PAGES} == rules("alert").keys()


@any_page
def test_a_page_says_what_it_means_whom_it_meets_and_what_to_do(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == list(PARTS)
    assert promql(page)
    assert len(text.splitlines()) < 60


def _command(words: list[str]) -> click.Command | None:
    """What these words run: a command, or a subcommand of a group."""
    context = click.Context(main)
    command = main.get_command(context, words[0])
    if isinstance(command, click.Group) and len(words) > 1 and not words[1].startswith("-"):
        return command.get_command(context, words[1])
    return command


@any_page
def test_a_page_names_commands_and_options_that_exist(page: Path) -> None:
    for words in map(str.split, _COMMAND.findall(page.read_text())):
        if words == ["--version"]:
            continue
        assert words[0] in COMMANDS, words
        command = _command(words)
        assert command is not None, words
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, words


@any_page
def test_a_page_asks_for_figures_and_settings_that_exist(page: Path) -> None:
    known = documented() | {"up"} | rules("record").keys()
    for expression in promql(page):
        assert metrics_of(expression) <= known, expression
    for name in re.findall(r"`(OKAWARI_[A-Z_]+|WORKERS)`", page.read_text()):
        assert f"`{name}`" in SETTINGS


def test_the_guide_lists_all_alerts_with_their_urgency() -> None:
    listed = re.findall(r"^\| \[(\w+)\]\(\.\./runbooks/\1\.md\) \| (\w+) \| ([^|]+) \|", GUIDE, re.MULTILINE)
    told = {name: (urgency, waits.strip()) for name, urgency, waits in listed}
    assert told == {
        name: (alert["labels"]["severity"], alert.get("for", "-")) for name, alert in rules("alert").items()
    }

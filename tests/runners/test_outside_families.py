"""Entry points of other packages: which become families, and what is said of the others."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from manifest.version_manifest import BadManifest, parse_config
from okawari import Family, Found, Parameters
from runners.families import index
from runners.families.outside import GROUP, outside_families
from tests.runners.graphs import CLASSIFIER


class Plain(Family[Parameters]):
    """Nothing is ever found."""

    name = "plain"
    task = "object-detection"
    schema = Parameters

    def check(self, outputs):
        """Anything."""

    def find(self, outputs, geometry, options):
        """Nothing."""
        return Found()


class Unfinished(Family[Parameters]):
    name = "plain"
    task = "object-detection"
    schema = Parameters


class Package:
    """A distribution."""

    version = "1.2"

    def __init__(self, name: str) -> None:
        self.name = name


def changed(**fields):
    return type("Changed", (Plain,), fields)


def point(monkeypatch, value, name="plain", package="p"):
    """An entry point of a package whose module has `Value`."""
    module = ModuleType(f"outside_{package}")
    vars(module)["Value"] = value
    monkeypatch.setitem(sys.modules, module.__name__, module)
    one = EntryPoint(name, f"{module.__name__}:Value", GROUP)
    vars(one)["dist"] = Package(package)
    return one


def test_a_package_brings_a_family(monkeypatch):
    found = outside_families({"clip"}, [point(monkeypatch, Plain)])
    assert found.families == {"plain": Plain}
    assert found.distributions == {"plain": "p 1.2"}
    assert found.unusable == ()
    assert found.why_not("plain") is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (changed(name="other"), "name: allowed are plain, found 'other'"),
        (changed(task="counting"), "task: allowed are object-detection, .*found 'counting'"),
        (changed(schema=dict), "schema: must be a subclass of okawari.Parameters"),
        (changed(takes=("colour",)), "takes: allowed are text_prompt, .*found colour"),
        (Unfinished, "Unfinished lacks check, find"),
        (Plain.check, "is no subclass of okawari.Family"),
        (dict, "is no subclass of okawari.Family"),
    ],
)
def test_what_is_no_family_is_told_and_the_others_are_used(monkeypatch, value, why):
    good = point(monkeypatch, changed(name="good"), "good", "q")
    found = outside_families((), [point(monkeypatch, value), good])
    assert list(found.families) == ["good"]
    (one,) = found.unusable
    assert (one.name, one.distribution) == ("plain", "p 1.2")
    assert re.search(why, one.reason)


@pytest.mark.parametrize("error", [ValueError("odd\nlines"), SystemExit(3), ImportError("no cv2")])
def test_a_package_that_fails_is_told(monkeypatch, error):
    def load(self):
        raise error

    one = point(monkeypatch, Plain)
    monkeypatch.setattr(EntryPoint, "load", load)
    (told,) = outside_families((), [one]).unusable
    assert type(error).__name__ in told.reason
    assert "\n" not in told.reason


def test_a_name_that_two_claim_is_given_to_none_and_ours_stay_ours(monkeypatch):
    points = [
        point(monkeypatch, Plain, package="p"),
        point(monkeypatch, changed(), package="q"),
        point(monkeypatch, changed(name="clip"), "clip", "r"),
    ]
    found = outside_families({"clip"}, points)
    assert found.families == {}
    assert [(one.name, one.distribution) for one in found.unusable] == [
        ("clip", "r 1.2"),
        ("plain", "p 1.2"),
        ("plain", "q 1.2"),
    ]
    assert "p 1.2 and q 1.2 claim that name" in str(found.why_not("plain"))


def test_a_config_of_such_a_family_says_why(monkeypatch):
    unusable = outside_families((), [point(monkeypatch, dict)])
    monkeypatch.setattr(index, "OUTSIDE", unusable)
    with pytest.raises(BadManifest, match=r"family 'plain' of p 1\.2 cannot be used: .*no subclass"):
        index.check_config(parse_config(json.dumps(CLASSIFIER | {"family": "plain"})))

"""Names of models and versions."""

from __future__ import annotations

import pytest

from manifest.tags import BadTag, ModelTag, as_version, natural_key


def test_versions_are_ordered_as_people_count() -> None:
    versions = ["v10", "v2", "v1", "v1.10", "v1.9", "2024-01", "v2-rc"]
    assert sorted(versions, key=natural_key) == ["2024-01", "v1", "v1.9", "v1.10", "v2", "v2-rc", "v10"]


@pytest.mark.parametrize(
    ("asked", "meant"), [(3, "v3"), ("3", "v3"), ("v3", "v3"), (" V3 ", "v3"), ("3a", "3a")]
)
def test_an_integer_n_means_vn(asked: str | int, meant: str) -> None:
    assert as_version(asked) == meant


def test_a_version_known_by_the_very_number_comes_before_vn() -> None:
    assert as_version("3", {"3", "v3"}) == "3"
    assert as_version(3, {"v3"}) == "v3"


def test_digits_of_other_scripts_are_no_integers() -> None:
    assert as_version("٣") == "٣"


def test_a_tag_is_written_and_read_alike() -> None:
    assert str(ModelTag.parse("detector:v7")) == "detector:v7"


@pytest.mark.parametrize(
    "text", ["detector", "detector:", ":v7", "a:b:c", "A:v1", "a/b:v1", "a:v1\n", "-a:v1", "a:" + "v" * 64]
)
def test_what_the_store_could_not_hold_is_no_tag(text: str) -> None:
    with pytest.raises(BadTag):
        ModelTag.parse(text)


def test_latest_is_a_target_and_never_a_version() -> None:
    with pytest.raises(BadTag, match="target"):
        ModelTag("detector", "latest")


def test_a_refused_name_says_what_is_allowed() -> None:
    with pytest.raises(BadTag, match=r"model name 'Big': allowed are at most 63 of a-z"):
        ModelTag("Big", "v1")

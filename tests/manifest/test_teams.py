"""Which team is meant, and what it has without saying so."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifest.teams import BadTeams, Team, TeamEntry, choose_team, read_teams


def _file(folder: Path, text: str) -> Path:
    path = folder / "teams.toml"
    path.write_text(text)
    return path


def test_without_a_file_no_team_is_listed() -> None:
    assert read_teams(None) == {}


def test_a_listed_team_has_what_the_list_says(tmp_path: Path) -> None:
    listed = read_teams(
        _file(
            tmp_path,
            '[wheat]\nmodel = "ears"\nmodel_tag = "@production"\nthreshold = 0.4\nmax_detections = 7\n',
        )
    )
    assert choose_team(" Wheat ", listed, {}, has_weights=False) == Team(
        name="wheat", model="ears", model_tag="@production", adapter=None, threshold=0.4, max_detections=7
    )


def test_weights_or_an_adapter_make_a_team_that_is_not_listed() -> None:
    by_weights = choose_team("SOIL_B", {}, {}, has_weights=True)
    assert (by_weights.name, by_weights.model, by_weights.model_tag) == ("soil_b", "soil-b", "latest")
    by_adapter = choose_team("soil", {}, {"soil": "soil_runner"}, has_weights=False)
    assert by_adapter.adapter == "soil_runner"


def test_the_list_comes_before_the_adapter_that_is_found() -> None:
    listed = {"soil": TeamEntry(adapter="other:Runner")}
    assert choose_team("soil", listed, {"soil": "soil_runner"}, has_weights=False).adapter == "other:Runner"


def test_an_adapter_that_a_listed_team_names_is_no_team_of_its_own() -> None:
    listed = {"fruit": TeamEntry(adapter="fruit_defect_runner:FruitRunner")}
    with pytest.raises(BadTeams, match="unknown TEAM fruit_defect; known: fruit;"):
        choose_team("fruit_defect", listed, {"fruit_defect": "fruit_defect_runner"}, has_weights=False)


def test_an_unknown_team_is_told_which_are_known() -> None:
    with pytest.raises(BadTeams, match="unknown TEAM corn; known: fruit, soil; name it in"):
        choose_team("corn", {"fruit": TeamEntry()}, {"soil": "soil_runner"}, has_weights=False)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "ü", "x" * 60])
def test_odd_names_are_no_teams_even_with_weights(name: str) -> None:
    with pytest.raises(BadTeams, match="unknown TEAM"):
        choose_team(name, {}, {}, has_weights=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[Fruit]", "team 'Fruit': allowed are"),
        ("fruit = 1", r"\\[fruit\\]"),
        ("[fruit]\nthreshold = 3", "threshold"),
        ("[fruit]\nthresold = 0.3", "thresold"),
        ('[fruit]\nadapter = "../evil"', "adapter"),
        ("[fruit", "teams.toml"),
    ],
)
def test_a_list_with_a_mistake_is_refused_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadTeams, match=said.replace("\\\\", "\\")):
        read_teams(_file(tmp_path, text))


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTeams, match="cannot be read"):
        read_teams(tmp_path / "none.toml")


def test_a_model_that_no_store_could_hold_is_refused() -> None:
    with pytest.raises(BadTeams, match="TEAM soil: model name"):
        choose_team("soil", {"soil": TeamEntry(model="No Model")}, {}, has_weights=False)

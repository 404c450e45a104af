"""`okawari devices`: the choice of a device by hand, kept beside the desired state."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotswap.errors import StateUnavailable
from registry.device_file import DeviceFile
from tests.cli.conftest import Okawari, Service
from tests.models_import.shop import day, stock


@pytest.fixture(autouse=True)
def _stocked(home: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        stock(home, tmp_path, "code", f"v{number}", number, created=day(number))


def test_a_choice_is_kept_until_it_is_taken_back(okawari: Okawari, home: Path) -> None:
    assert okawari("devices").stdout == "code  default  not loaded\n"
    assert okawari("devices", "code=cuda:0").stdout == "code  cuda:0  not loaded\n"
    assert DeviceFile(home).read() == {"code": "cuda:0"}
    assert okawari("devices").stdout == "code  cuda:0  not loaded\n"
    okawari("devices", "code=default")
    assert DeviceFile(home).read() == {}


def test_where_versions_run_is_shown_with_the_reason(okawari: Okawari, service: Service) -> None:
    service.says("code", "v2")
    service.models["code"]["generations"][0] |= {"device": "cpu", "device_reason": "auto, by OKAWARI_DEVICE"}
    service.write()
    done = okawari("devices", "code=auto")
    assert done.stdout == "code:v2  auto  cpu  auto, by OKAWARI_DEVICE\n"
    assert "next load" in done.stderr


@pytest.mark.parametrize("choice", ["code", "code=", "=cpu", "code=gpu", "code=cuda:", "code=cuda:100"])
def test_what_is_no_choice_is_refused_with_what_is_allowed(okawari: Okawari, home: Path, choice: str) -> None:
    assert "cuda:n" in okawari("devices", choice, exit_code=2).output
    assert DeviceFile(home).read() == {}


def test_a_model_that_is_not_there_is_refused(okawari: Okawari, home: Path) -> None:
    assert "models: code" in okawari("devices", "code=cpu", "nope=cpu", exit_code=1).output
    assert DeviceFile(home).read() == {}


def test_a_damaged_file_is_told(home: Path) -> None:
    file = DeviceFile(home)
    file.choose({"code": "cpu"})
    (home / "state" / "devices.json").write_text('{"devices": {"code": "quantum"}}')
    with pytest.raises(StateUnavailable, match="move it away"):
        file.read()

"""How busy the machine is, from files as the kernel writes them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from telemetry.machine_usage import CpuUsage, disk_percent, finite, memory_percent
from tests.hotswap.fakes import FakeClock


def _ticks(stat: Path, user: int, idle: int, *, waits: int = 0) -> None:
    stat.write_text(f"cpu  {user} 0 0 {idle} {waits} 0 0 0 999 0\ncpu0 1 2 3 4\n")


def test_the_cpus_are_busy_as_they_were_since_somebody_asked(tmp_path: Path) -> None:
    stat, clock = tmp_path / "stat", FakeClock()
    _ticks(stat, 100, 100)
    cpus = CpuUsage(stat, clock)
    assert cpus.percent() is None
    _ticks(stat, 175, 120, waits=5)
    clock.now += 1
    assert cpus.percent() == 75.0
    _ticks(stat, 275, 120, waits=5)
    clock.now += 0.1
    assert cpus.percent() == 75.0, "asked again too soon: the same figure"
    clock.now += 0.5
    assert cpus.percent() == 100.0
    clock.now += 1
    assert cpus.percent() is None, "no tick has passed"


@pytest.mark.parametrize("text", ["", "cpu\n", "cpu a b c d e f g h\n", "cpu 1 2 3\n"])
def test_a_system_that_does_not_say_gives_none(tmp_path: Path, text: str) -> None:
    file, clock = tmp_path / "file", FakeClock()
    file.write_text(text)
    for place in (file, tmp_path / "absent"):
        cpus = CpuUsage(place, clock)
        clock.now += 1
        assert cpus.percent() is None
        assert memory_percent(place) is None


def test_memory_and_disk(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\nHugePages: x\n")
    assert memory_percent(meminfo) == 75.0
    share = disk_percent(tmp_path)
    assert share is not None
    assert 0 < share < 100
    assert disk_percent(tmp_path / "absent") is None
    assert (finite(1.5), finite(math.nan)) == (1.5, None)

"""Which device a token belongs to, as the service asks at every request."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from hotswap.errors import BadRequest
from lineage.device_tokens import DeviceTokens
from lineage.devices import IssuedTokens, token_hash
from lineage.errors import RecordsUnavailable
from tests.support.captures import NOON
from tests.support.devices_memory import DevicesMemory

GRACE = timedelta(hours=24)


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.passed = 0.0

    def moment(self) -> datetime:
        return NOON + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed


class CountedDevices(DevicesMemory):
    """Counts how often it is asked, and may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.is_away = False
        self.written: list[Mapping[str, datetime]] = []

    def tokens(self) -> IssuedTokens:
        self.asked += 1
        if self.is_away:
            raise RecordsUnavailable("away")
        return super().tokens()

    def seen(self, moments: Mapping[str, datetime]) -> None:
        self.written.append(dict(moments))
        super().seen(moments)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def devices() -> CountedDevices:
    made = CountedDevices()
    made.add("cam-1", None, token_hash("one"), NOON)
    return made


@pytest.fixture
def tokens(devices: CountedDevices, time: Time) -> DeviceTokens:
    static = {"device-001": "static"}
    return DeviceTokens(static, devices, 5, clock=time.moment, monotonic=time.monotonic)


def test_static_tokens_and_those_of_the_store_are_known(tokens: DeviceTokens) -> None:
    assert tokens.device_of("one") == "cam-1"
    assert tokens.device_of("static") == "device-001"
    for wrong in ("two", "", token_hash("one"), "\ud800", "ö"):
        assert tokens.device_of(wrong) is None


def test_the_store_is_asked_once_an_interval(
    tokens: DeviceTokens, devices: CountedDevices, time: Time
) -> None:
    for _ in range(100):
        assert tokens.device_of("two") is None
    assert devices.asked == 1
    devices.add("cam-2", None, token_hash("two"), NOON)
    time.passed = 4.9
    assert tokens.device_of("two") is None
    time.passed = 5
    assert tokens.device_of("two") == "cam-2"
    assert devices.asked == 2


def test_a_rotated_token_ends_at_its_moment(
    tokens: DeviceTokens, devices: CountedDevices, time: Time
) -> None:
    devices.rotate("cam-1", token_hash("new"), NOON, GRACE)
    assert (tokens.device_of("one"), tokens.device_of("new")) == ("cam-1", "cam-1")
    devices.is_away = True
    time.passed = GRACE.total_seconds()
    assert (tokens.device_of("one"), tokens.device_of("new")) == (None, "cam-1")


def test_a_disabled_device_is_refused_with_any_token(
    tokens: DeviceTokens, devices: CountedDevices, time: Time
) -> None:
    devices.add("device-001", None, token_hash("second"), NOON)
    for device in ("cam-1", "device-001"):
        devices.disable(device, NOON)
    assert [tokens.device_of(one) for one in ("one", "static", "second")] == [None] * 3
    devices.enable("device-001")
    time.passed = 5
    assert [tokens.device_of(one) for one in ("one", "static", "second")] == [None, *["device-001"] * 2]


def test_while_the_store_is_away_the_last_known_tokens_hold(
    tokens: DeviceTokens, devices: CountedDevices, time: Time
) -> None:
    assert tokens.device_of("one") == "cam-1"
    devices.is_away = True
    time.passed = 60
    assert (tokens.device_of("one"), tokens.device_of("two")) == ("cam-1", None)
    assert tokens.device_of("static") == "device-001"
    assert devices.asked == 2


def test_a_token_is_not_called_wrong_before_the_store_was_read(
    tokens: DeviceTokens, devices: CountedDevices, time: Time
) -> None:
    devices.is_away = True
    with pytest.raises(RecordsUnavailable):
        tokens.device_of("one")
    assert tokens.device_of("static") == "device-001"
    devices.is_away = False
    time.passed = 5
    assert tokens.device_of("one") == "cam-1"


def test_when_a_device_was_seen_is_written_once_a_minute(
    tokens: DeviceTokens, devices: CountedDevices, time: Time
) -> None:
    for seconds in range(0, 130, 5):
        time.passed = float(seconds)
        assert tokens.device_of("one") == "cam-1"
        tokens.device_of("wrong")
    moments = [(moment - NOON).total_seconds() for written in devices.written for moment in written.values()]
    assert moments == [0, 60, 120]


def test_static_tokens_need_no_store() -> None:
    tokens = DeviceTokens({"device-001": "static"}, None)
    assert (tokens.device_of("static"), tokens.device_of("x")) == ("device-001", None)


@pytest.mark.parametrize(
    ("static", "error"),
    [
        ({"a": "same", "b": "same"}, ValueError),
        ({"a": " "}, ValueError),
        ({"../a": "t"}, BadRequest),
    ],
)
def test_static_tokens_that_cannot_be_are_refused(static: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        DeviceTokens(static, None)

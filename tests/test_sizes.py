"""Amounts of memory, as people write them."""

from __future__ import annotations

import pytest

from common.sizes import MemoryAmount, memory_amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("8000000000", MemoryAmount(8_000_000_000)),
        (8_000_000_000, MemoryAmount(8_000_000_000)),
        ("8GB", MemoryAmount(8_000_000_000)),
        ("8192MB", MemoryAmount(8_192_000_000)),
        (" 7.5 gib ", MemoryAmount(8_053_063_680)),
        ("2000kb", MemoryAmount(2_000_000)),
        ("60%", MemoryAmount(share=0.6)),
        ("100 %", MemoryAmount(share=1.0)),
        ("0.5%", MemoryAmount(share=0.005)),
    ],
)
def test_an_amount_is_read(text: str | int, amount: MemoryAmount) -> None:
    assert memory_amount(text) == amount


@pytest.mark.parametrize(
    "text",
    ["", "much", "8 G B", "-1", "8PB", "1e9", "0%", "101%", "nan", "8192", "0.5MB", "9" * 19, "8GB 60%"],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be at least|write bytes"):
        memory_amount(text)


def test_a_share_is_one_of_what_there_is() -> None:
    assert MemoryAmount(share=0.6).of(1000) == 600
    assert MemoryAmount(bytes=10).of(1000) == 10

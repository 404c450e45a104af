"""Tensors in JSON: what fits a datatype is taken exactly, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from api.open_inference import tensors
from api.open_inference.types import DTYPES
from hotswap.errors import BadRequest

_TAKEN: list[tuple[str, list[Any]]] = [
    ("BOOL", [True, False]),
    ("UINT8", [0, 255]),
    ("INT8", [-128, 127]),
    ("UINT64", [0, 1, 2**64 - 1]),
    ("INT64", [-(2**63), 2**63 - 1, 2**53 + 1]),
    ("FP32", [1, 0.5, -3.4e38, 2**40]),
    ("FP64", [1, 0.1, -1.7e308, 2**53]),
]


@pytest.mark.parametrize(("datatype", "values"), _TAKEN, ids=[each for each, _ in _TAKEN])
def test_r11_values_are_taken_exactly(datatype: str, values: list[Any]) -> None:
    found = tensors.read("x", datatype, [len(values)], values)
    assert isinstance(found.data, np.ndarray)
    assert found.data.dtype == DTYPES[datatype]
    assert found.data.tolist() == np.array(values, DTYPES[datatype]).tolist()


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("BOOL", 1),
        ("BOOL", "true"),
        ("UINT8", 256),
        ("UINT8", -1),
        ("INT8", 128),
        ("INT32", 1.0),
        ("INT32", True),
        ("INT64", 2**63),
        ("UINT64", -1),
        ("FP32", 1e39),
        ("FP32", -1e39),
        ("FP32", True),
        ("FP32", "1"),
        ("FP32", None),
        ("BYTES", 1),
        ("BYTES", None),
        ("FP16", 1.0),
        ("BF16", 1.0),
    ],
)
def test_r11_what_does_not_fit_is_refused(datatype: str, value: Any) -> None:
    with pytest.raises(BadRequest, match=r"^input x: "):
        tensors.read("input x", datatype, [1], [value])
    good = "" if datatype == "BYTES" else datatype == "BOOL" or 1
    with pytest.raises(BadRequest, match=r"^input x: "):
        tensors.read("input x", datatype, [2], [good, value])


def test_bytes_in_json_are_texts_in_utf_8() -> None:
    found = tensors.read("x", "BYTES", [1, 2], [["å", ""]])
    assert (found.data, found.text) == (["å".encode(), b""], True)

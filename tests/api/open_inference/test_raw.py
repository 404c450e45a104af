"""Tensors as bytes."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from api.open_inference import tensors
from api.open_inference.types import BF16, DTYPES, MOST_BYTES, Tensor, check_datatype, check_names, count
from hotswap.errors import BadRequest

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False, True],
    "UINT8": [0, 255, 7],
    "UINT64": [0, 2**64 - 1, 7],
    "INT8": [-128, 127, 0],
    "INT64": [-(2**63), 2**63 - 1, 0],
    "FP16": [1.5, -2.0, 65504.0],
    "FP32": [1.5, -2.0, 2.0**127],
    "FP64": [1.5, -2.0, 1e308],
}


@pytest.mark.parametrize(("datatype", "values"), VALUES.items(), ids=list(VALUES))
def test_b4_what_is_packed_comes_out_again(datatype: str, values: list[Any]) -> None:
    array = np.array(values, DTYPES[datatype]).reshape(1, 3)
    packed = bytes(tensors.packed(array))
    assert len(packed) == array.nbytes
    found = tensors.tensor("x", datatype, (1, 3), packed)
    assert (found.datatype, found.shape) == (datatype, (1, 3))
    assert isinstance(found.data, np.ndarray)
    assert (found.data.dtype, found.data.tolist()) == (DTYPES[datatype], [values])


def test_b4_numbers_are_little_endian_and_row_major() -> None:
    array = np.array([[1, 2], [3, 4]], ">i4").T
    assert bytes(tensors.packed(array)) == struct.pack("<4i", 1, 3, 2, 4)


def test_b4_bytes_have_their_length_before_them() -> None:
    packed = b"\x02\x00\x00\x00ab\x00\x00\x00\x00\x01\x00\x00\x00c"
    assert tensors.packed([b"ab", b"", b"c"]) == packed
    assert tensors.tensor("x", "BYTES", (3, 1), packed).data == [b"ab", b"", b"c"]


@given(some.lists(some.binary(max_size=9)))
def test_b4_any_bytes_come_out_again(elements: list[bytes]) -> None:
    assert tensors.elements("x", len(elements), tensors.packed(elements)) == elements


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        (1, b""),
        (0, b"\x00\x00\x00\x00"),
        (1, b"\x01\x00\x00"),
        (1, b"\x02\x00\x00\x00a"),
        (1, b"\xff\xff\xff\xffa"),
        (1, b"\x01\x00\x00\x00ab"),
        (2, b"\x01\x00\x00\x00a"),
        (2**40, b"\x01\x00\x00\x00a"),
    ],
)
def test_b6_bytes_that_do_not_fit_the_shape_are_refused(wanted: int, sent: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^x: "):
        tensors.elements("x", wanted, sent)


def test_b6_an_element_that_is_cut_off_is_told_of() -> None:
    with pytest.raises(BadRequest, match="element 1 has 9 bytes, but 1 are left"):
        tensors.elements("x", 2, b"\x00\x00\x00\x00\x09\x00\x00\x00a")


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_b6_a_size_that_does_not_fit_the_shape_is_refused(size: int) -> None:
    with pytest.raises(BadRequest, match=rf"16 bytes, found {size}"):
        tensors.tensor("x", "FP32", (2, 2), bytes(size))


def test_more_bytes_elements_than_anybody_needs_are_refused_before_they_are_made() -> None:
    packed = bytes(4 * MOST_BYTES)
    assert tensors.elements("x", MOST_BYTES, packed) == [b""] * MOST_BYTES
    with pytest.raises(BadRequest, match=rf"^x: .*at most {MOST_BYTES} elements"):
        tensors.tensor("x", "BYTES", (MOST_BYTES + 1,), packed + bytes(4))


def test_b4_a_bool_is_0_or_1() -> None:
    assert tensors.tensor("x", "BOOL", (0,), b"").shape == (0,)
    for byte in (b"\x02", b"\xff"):
        with pytest.raises(BadRequest, match=r"^x: each BOOL"):
            tensors.tensor("x", "BOOL", (2,), b"\x01" + byte)


def test_an_array_at_an_odd_address_is_copied() -> None:
    found = tensors.tensor("x", "FP32", (1,), memoryview(b"\x00" + struct.pack("<f", 1.5))[1:])
    assert isinstance(found.data, np.ndarray)
    assert found.data.flags.aligned
    assert found.data.tolist() == [1.5]


def test_an_empty_tensor_is_one() -> None:
    assert tensors.tensor("x", "FP32", (0, 7), b"").shape == (0, 7)


def test_bf16_is_taken_by_its_size() -> None:
    assert tensors.tensor("x", BF16, (2,), b"\x00\x3f\x80\x3f").datatype == BF16
    with pytest.raises(BadRequest, match="4 bytes"):
        tensors.tensor("x", BF16, (2,), b"\x00\x3f")


def test_a_tensor_of_texts_is_bytes() -> None:
    assert Tensor.of("x", np.array([["å"], ["b"]], object)) == Tensor(
        "x", "BYTES", (2, 1), ["å".encode(), b"b"]
    )


@pytest.mark.parametrize(
    "shape", [[-1], [1.0], [True], ["2"], [None], [[1]], [2**41], [0, 2**30, 2**30], [1] * 33]
)
def test_what_is_no_shape_is_refused(shape: list[object]) -> None:
    with pytest.raises(BadRequest, match=r"^x: shape: "):
        count("x", shape)


def test_a_shape_counts_its_elements() -> None:
    assert [count("x", shape) for shape in ([], [3], [2, 3], [2, 0, 3])] == [1, 3, 6, 0]


@pytest.mark.parametrize("datatype", ["", "fp32", "FLOAT", None, 7, ["FP32"], "x" * 9999])
def test_r11_another_datatype_is_refused_with_those_there_are(datatype: object) -> None:
    with pytest.raises(BadRequest, match="BOOL, UINT8") as caught:
        check_datatype("x", datatype)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("names", [["a", "b", "a"], [""], ["x" * 257]])
def test_names_that_cannot_be_are_refused(names: list[str]) -> None:
    with pytest.raises(BadRequest, match=r"^inputs: "):
        check_names("inputs", names)

"""ModelMora's clients whose stub has no package."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.api.grpc import plain
from tests.api.grpc.typed import typed

PROTOS = plain.ROOT / "api" / "protos"


def test_both_protos_say_the_same_but_for_the_package() -> None:
    packaged = (PROTOS / "modelmora.proto").read_text()
    head = 'syntax = "proto3";\n\n'
    comment, found, body = (PROTOS / plain.PROTO).read_text().partition(head)
    assert found
    assert all(line.startswith("//") for line in comment.splitlines())
    assert packaged == f"{head}package modelmora.v1;\n\n{body}"


@pytest.mark.anyio
@pytest.mark.timeout(60)  # a compiler and an interpreter are started
@pytest.mark.process
async def test_a_stub_made_from_the_proto_without_a_package_is_answered(tmp_path: Path) -> None:
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(b"picture")
    async with typed("e:v1", codes={"v1": 5}) as served:
        told = await asyncio.to_thread(plain.ask, tmp_path, served.address, "e", picture)
    assert (told["vector"], told["version"], told["last"]) == ([5.0, 1.0], "v1", [5.0, 1.0])
    assert told["states"] == ["QUEUED", "RUNNING", "DONE"]
    assert told["batch"]["plain"] == [[5.0, 1.0], ""]
    vector, error = told["batch"]["bad"]
    assert (vector, error.partition(":")[0]) == ([], "model_not_found")

"""Audit logs for tests, and the lines of their files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from registry.audit import AuditedDecision, AuditLog, Head, Record, canonical
from registry.audit_check import verify
from registry.audit_file import AuditFile
from registry.audit_key import AuditKey, fingerprint, read_public


def opened(folder: Path) -> AuditLog:
    """The log in a folder, as each process of a service opens it."""
    return AuditLog(AuditFile(folder), AuditKey(folder))


def switch(number: int, **more: Any) -> AuditedDecision:
    """A decision with its own source."""
    facts = {"model": "m", "actor": "ann", "before": f"v{number}", "after": f"v{number + 1}"}
    return AuditedDecision("switch", **{**facts, "source": f"switch/m/{number}", **more})


def verified(folder: Path, *heads: Head) -> Head:
    """The head of a log that is whole; raises `Tampered`."""
    key = read_public(AuditKey(folder).public_path)
    kept = AuditKey(folder).kept()
    known = [Head(kept.sequence, kept.hash)] if kept else []
    return verify(AuditFile(folder), {fingerprint(key): key}, [*heads, *known])


def lines_of(folder: Path) -> list[bytes]:
    """The lines of the file; the record with sequence number n has the index n - 1."""
    return AuditFile(folder).path.read_bytes().splitlines(keepends=True)


def rewrite(folder: Path, lines: list[bytes]) -> None:
    """What a tamperer does."""
    AuditFile(folder).path.write_bytes(b"".join(lines))


def edited(line: bytes, **fields: object) -> bytes:
    """The line with other content and the hash that it had."""
    return canonical(json.loads(line) | fields) + b"\n"


def forged(line: bytes, **fields: object) -> bytes:
    """The line with other content and the hash of that."""
    return canonical(Record.model_validate(json.loads(line) | fields).sealed().model_dump()) + b"\n"


def append_until_killed(folder: Path, name: str, acknowledged: int) -> None:
    """Append for ever; each number is written to a pipe when the log has it."""
    log, number = opened(folder), 0
    while True:
        record = log.record(
            AuditedDecision("switch", model=name, reason="x" * 900, source=f"{name}/{number}")
        )
        assert record is not None
        os.write(acknowledged, b"%d\n" % record.sequence)
        number += 1

"""The contract of a model: what its callers rely on from one version to the next. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from hotswap.gate import Result, Verdict, Version
from manifest.version_manifest import ModelConfig

_MOST_NAMED = 5


def changes(before: ModelConfig, after: ModelConfig) -> list[str]:
    """Each difference that callers can meet, in a sentence. Labels may be appended."""
    return list(_changes(before, after))


def _changes(before: ModelConfig, after: ModelConfig) -> Iterator[str]:
    if before.answers_as != after.answers_as:
        yield f"task is {after.answers_as}, was {before.answers_as}"
    if (before.picture is None) != (after.picture is None):
        yield "takes pictures no longer" if after.picture is None else "takes pictures, took tensors alone"
    elif before.picture is not None and after.picture is not None:
        sizes = [(each.width, each.height) for each in (after.picture, before.picture)]
        if sizes[0] != sizes[1]:
            (width, height), (had_width, had_height) = sizes
            yield f"input is {width}x{height}, was {had_width}x{had_height}"
    yield from _labels(before, after)


def _labels(before: ModelConfig, after: ModelConfig) -> Iterator[str]:
    """Labels by number: those of before must be there, in their places."""
    had, has = _listed(before), _listed(after)
    if had is None or has is None:
        return
    if len(has) < len(had):
        yield f"has {len(has)} labels, had {len(had)}"
    moved = [number for number, (old, new) in enumerate(zip(had, has, strict=False)) if old != new]
    if moved:
        named = ", ".join(f"{number}: {has[number]!r}, was {had[number]!r}" for number in moved[:_MOST_NAMED])
        more = f" and {len(moved) - _MOST_NAMED} more" if len(moved) > _MOST_NAMED else ""
        yield f"label {named}{more}"


def _listed(config: ModelConfig) -> list[str] | None:
    return None if config.labels_file else list(config.labels)


class ContractCheck:
    """Whether a version keeps what callers of the one before it rely on."""

    name = "contract"

    def judge(self, current: Version | None, candidate: Version) -> Verdict:
        """See `Check.judge`."""
        if current is None:
            return Verdict(Result.PASS, "there is no version before it")
        found = changes(current.artifact.config, candidate.artifact.config)
        if not found:
            return Verdict(Result.PASS, f"as {current.artifact.tag}")
        return Verdict(
            Result.FAIL, f"not as {current.artifact.tag}: {'; '.join(found)}", {"changes": len(found)}
        )

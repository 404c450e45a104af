"""`okawari dlq`: messages without a result: why, and back to where they came from."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from cli.errors import Refused
from cli.output import note, say, say_json
from cli.stream_options import kafka_settings, needs_stream
from common.text import plain

if TYPE_CHECKING:
    from streaming.dead_letters import DeadLetter, DeadLetters

_CLASSES = ("invalid", "permanent", "exhausted")


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """The options of both commands."""

    @click.option("--bootstrap", envvar="KAFKA_BOOTSTRAP", default="kafka:9092", show_default=True)
    @click.option("--dlq-topic", envvar="DLQ_TOPIC", default="dlq.inference.http", show_default=True)
    @click.option("--team", help="Of this team alone.")
    @click.option("--code", multiple=True, help="With this error code alone; may be given several times.")
    @click.option("--class", "kind", type=click.Choice(_CLASSES), help="Of this class alone.")
    @wraps(command)
    def made(**options: Any) -> None:
        needs_stream()
        from confluent_kafka import KafkaException

        try:
            command(**options)
        except KafkaException as error:
            raise Refused(f"Kafka at {options['bootstrap']}: {error.args[0].str()}") from None

    return made


@click.group("dlq")
def dlq_command() -> None:
    """List messages without a result, and send them back when they can be answered.

    \b
    Examples:
      okawari dlq list --team fruit
      okawari dlq redrive --code object_not_found
    """


@dlq_command.command("list")
@_common
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_command(
    *,
    bootstrap: str,
    dlq_topic: str,
    team: str | None,
    code: tuple[str, ...],
    kind: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the letters that wait, the oldest of each partition first."""
    wanted = _wanted(team, code, kind)
    found = list(islice(filter(wanted, _letters(bootstrap, dlq_topic).waiting()), limit))
    if as_json:
        say_json([_document(each) for each in found])
        return
    for each in found:
        again = f", redriven {each.redriven} times" if each.redriven else ""
        say(f"{each.id}  {each.kind}  {each.code}  {each.attempts} tries{again}  {plain(each.reason, 160)}")
    note(f"{len(found)} letters" + (" (there may be more: --limit)" if len(found) == limit else ""))


@dlq_command.command("redrive")
@_common
@click.option("--to", "target", metavar="TOPIC", help="Default: the topic that each came from.")
@click.option("--dry-run", is_flag=True, help="Say how many would be sent back.")
def redrive_command(
    *,
    bootstrap: str,
    dlq_topic: str,
    team: str | None,
    code: tuple[str, ...],
    kind: str | None,
    target: str | None,
    dry_run: bool,
) -> None:
    """Send letters back to their topic, each once: a newer version or a repaired store may answer them.

    Those that are not wanted stay, behind the last one.
    """
    wanted, letters = _wanted(team, code, kind), _letters(bootstrap, dlq_topic)
    if dry_run:
        say(f"{sum(map(wanted, letters.waiting()))} letters would be sent back")
        return
    figures = letters.redrive(wanted, target)
    say(f"{figures.sent} letters sent back, {figures.kept} kept")


def _letters(bootstrap: str, topic: str) -> DeadLetters:
    from streaming.dead_letters import DeadLetters

    return DeadLetters(kafka_settings(bootstrap), topic)


def _wanted(team: str | None, codes: tuple[str, ...], kind: str | None) -> Callable[[DeadLetter], bool]:
    def is_wanted(letter: DeadLetter) -> bool:
        return (
            team in (None, letter.team)
            and (not codes or letter.code in codes)
            and kind in (None, letter.kind)
        )

    return is_wanted


def _document(letter: DeadLetter) -> dict[str, Any]:
    value = letter.record.value
    return {
        "id": letter.id,
        "topic": letter.topic,
        "team": letter.team,
        "class": letter.kind,
        "code": letter.code,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "redriven": letter.redriven,
        "value": None if value is None else value.decode("utf-8", "replace"),
    }

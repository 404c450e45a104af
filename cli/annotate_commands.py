"""`annotate`, `flag`: what people say about answers."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import click

from cli.audit_records import actor
from cli.open_storage import open_database
from cli.output import say
from lineage.annotations import Annotation, AnnotationType, BoundingBox


def _box(ctx: click.Context, param: click.Parameter, text: str | None) -> BoundingBox | None:
    if text is None:
        return None
    try:
        x1, y1, x2, y2 = map(float, text.split(","))
    except ValueError:
        raise click.BadParameter("write x1,y1,x2,y2, each from 0 to 1", ctx, param) from None
    return x1, y1, x2, y2


@click.command("annotate")
@click.argument("image_id", type=click.UUID)
@click.option(
    "--type", "kind", required=True, type=click.Choice([each.value for each in AnnotationType]), help="What."
)
@click.option("--detection", type=click.UUID, help="Which detection of the picture it is about.")
@click.option("--bbox", callback=_box, metavar="X1,Y1,X2,Y2", help="The right box, in 0..1 of the picture.")
@click.option("--label", help="The right label.")
@click.option("--by", "annotator", help="Who says so; you, if absent.")
@click.option("--notes", help="Anything else.")
def annotate_command(
    *,
    image_id: UUID,
    kind: str,
    detection: UUID | None,
    bbox: BoundingBox | None,
    label: str | None,
    annotator: str | None,
    notes: str | None,
) -> None:
    """Note that an answer was wrong; retention then keeps the picture as long as it can.

    \b
    Examples:
      okawari annotate 5f0c… --type false_positive --detection 9a1e…
      okawari annotate 5f0c… --type missed_detection --bbox 0.1,0.2,0.3,0.5 --label wren
      okawari annotate 5f0c… --type wrong_label --detection 9a1e… --label robin --by ann
    """
    from adapters.sql.sql_annotations import SqlAnnotations

    annotation = Annotation(
        image_id, AnnotationType(kind), detection, bbox, label, annotator or actor(), notes
    )
    with open_database() as database:
        say(f"noted as {SqlAnnotations(database).add(annotation, datetime.now(UTC))}")


@click.command("flag")
@click.argument("image_id", type=click.UUID)
@click.option("--off", is_flag=True, help="Take the flag away.")
def flag_command(*, image_id: UUID, off: bool) -> None:
    """Flag a picture as worth a look; retention then keeps it as long as it can.

    \b
    Example:
      okawari flag 5f0c0a52-3b6e-4a43-9a34-5a4d1f0a9c11
    """
    from adapters.sql.sql_annotations import SqlAnnotations

    with open_database() as database:
        SqlAnnotations(database).flag(image_id, is_flagged=not off)
    say(f"{image_id} is {'not flagged' if off else 'flagged'}")

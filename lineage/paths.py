"""Where a picture lies in the store: `images/<device_id>/<YYYY-MM-DD>/<HH-MM-SS>_<hex>.<jpg|png>`."""

from __future__ import annotations

import re

from lineage.records import Capture

#: What a device may be called: it is a folder's name.
DEVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
#: Digits of the picture's id in its name: four, and more while another picture has that name.
FEWEST_DIGITS = 4
MOST_DIGITS = 32


def folder_of(capture: Capture) -> str:
    """The folder of a device's day, without a slash at its end."""
    return f"images/{capture.device_id}/{capture.captured_at:%Y-%m-%d}"


def path_of(capture: Capture, digits: int = FEWEST_DIGITS) -> str:
    """The path of a picture, with so many digits of its id."""
    moment = f"{capture.captured_at:%H-%M-%S}"
    return f"{folder_of(capture)}/{moment}_{capture.image_id.hex[:digits]}.{capture.format}"

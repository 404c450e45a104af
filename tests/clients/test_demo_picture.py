"""The picture that `make demo` leaves behind."""

from __future__ import annotations

from PIL import Image

from examples import demo

SQUARE = {"label": "square", "score": 0.9, "bbox": [0.1, 0.1, 0.6, 0.6]}
#: Its left side runs through the text of the square.
STAR = {"label": "star", "score": 0.8, "bbox": [0.19, 0.02, 0.8, 0.9]}


def test_no_box_crosses_a_text() -> None:
    texts = []
    for found in ([SQUARE, STAR], [STAR, SQUARE]):
        drawn = demo._drawn(Image.new("RGB", (320, 320), "white"), found)
        texts.append(drawn.crop((36, 36, 94, 50)).tobytes())
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 2, "there is a text"

"""Pictures of every format, size and kind of pixel are drawn on, and come back as they came."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hotswap.errors import BadPicture, PictureTooLarge, UnsupportedPicture
from hotswap.predictions import Options, Picture, Prediction
from runners.drawing.draw import MEDIA_TYPES, annotated
from runners.drawing.labels import Sizes
from runners.drawing.palette import WHITE, colour_of
from tests.runners.drawing import PAPER, SIZES, draw, drawn, found, opened, paper
from tests.runners.pictures import NO_LIMIT, encode, exif, noise, smooth

ROOT = Path(__file__).parents[2]


class TestPictures:
    @pytest.mark.slow
    @pytest.mark.parametrize("media_type", MEDIA_TYPES)
    @pytest.mark.parametrize("size", SIZES)
    def test_every_format_and_size_comes_back_as_large_as_it_was(
        self, media_type: str, size: tuple[int, int]
    ) -> None:
        marks = [found("cat", (0.1, 0.1, 0.9, 0.9)), found("dog", None)]
        after = draw(paper(*size, "JPEG"), *marks, media_type=media_type)
        assert after.shape == (size[1], size[0], 3)
        if min(size) > 40:
            edge = after[size[1] // 2, round(size[0] * 0.1) + Sizes.of(*size).line // 2].astype(int)
            # WebP halves the resolution of colour.
            assert np.abs(edge - colour_of("cat")).max() < (60 if media_type != "image/webp" else 160)
            assert np.abs(after[size[1] // 2, size[0] // 2].astype(int) - PAPER).max() < 12

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_turned_pictures_are_drawn_upright(self, orientation: int) -> None:
        """The model's boxes are those of the upright picture."""
        corner = Image.new("RGB", (80, 60), PAPER)
        corner.paste((250, 250, 250), (0, 0, 20, 20))
        upright = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}
        data = encode(corner, "JPEG", quality=95, exif=exif(orientation))
        file = drawn(data, found("cat", (0.4, 0.4, 0.6, 0.6)))
        after = opened(file)
        assert after.shape == ((60, 80, 3) if orientation <= 4 else (80, 60, 3))
        down, across = upright[orientation]
        assert after[-5 if down else 4, -5 if across else 4].min() > 230
        assert Image.open(BytesIO(file.data)).getexif() == {}

    @pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "I;16", "CMYK"])
    @pytest.mark.parametrize("media_type", MEDIA_TYPES)
    def test_every_kind_of_pixel_is_drawn_on_in_colour(self, mode: str, media_type: str) -> None:
        image = Image.new("I;16", (80, 60), 30000) if mode == "I;16" else Image.new("RGB", (80, 60), PAPER)
        data = encode(image if mode == "I;16" else image.convert(mode), "JPEG" if mode == "CMYK" else "PNG")
        after = draw(data, found("cat", (0.1, 0.4, 0.9, 0.9)), media_type=media_type)
        assert after.shape == (60, 80, 3)
        wanted = np.array(colour_of("cat"))
        assert np.abs(after.astype(int) - wanted).sum(axis=2).min() < 60

    def test_a_transparent_picture_is_laid_on_white_and_stays_opaque(self) -> None:
        image = Image.new("RGBA", (80, 60), (9, 9, 9, 0))
        image.paste((0, 0, 200, 255), (0, 0, 40, 60))
        after = draw(encode(image, "PNG"), found("cat", (0.1, 0.4, 0.3, 0.9)))
        assert tuple(after[50, 70]) == WHITE

    def test_a_wide_picture_takes_the_next_format_that_can_hold_it(self) -> None:
        picture, nothing = Picture(encoded=paper(17_000, 9)), Prediction((), "v1", 17_000, 9)
        file = annotated(picture, nothing, Options(), ["image/webp", "image/png", "image/jpeg"], NO_LIMIT)
        assert (file.media_type, opened(file).shape) == ("image/png", (9, 17_000, 3))
        with pytest.raises(PictureTooLarge, match="17000x9 pixels; image/webp allows at most 16383 per side"):
            annotated(picture, nothing, Options(), ["image/webp"], NO_LIMIT)

    def test_the_limit_of_pixels_holds(self) -> None:
        with pytest.raises(PictureTooLarge, match="at most 100"):
            annotated(
                Picture(encoded=paper(64, 48)), Prediction((), "v1", 64, 48), Options(), MEDIA_TYPES, 100
            )

    def test_broken_pictures_are_refused_as_by_the_model(self) -> None:
        whole = encode(noise(64, 48), "JPEG")
        with pytest.raises(BadPicture):
            drawn(whole[: len(whole) // 2])
        with pytest.raises(UnsupportedPicture):
            drawn(b"GIF89a" + bytes(100))

    @pytest.mark.parametrize("media_type", MEDIA_TYPES)
    def test_of_the_metadata_only_a_true_colour_profile_stays(self, media_type: str) -> None:
        def profile(space: bytes) -> bytes:
            return bytes(16) + space + bytes(108)

        secret = exif(1)
        secret[0x013B] = "Somebody"
        for space, kept in ((b"RGB ", True), (b"CMYK", False)):
            data = encode(
                smooth(64, 48), "JPEG", exif=secret, comment=b"Somebody", icc_profile=profile(space)
            )
            file = drawn(data, media_type=media_type)
            assert b"Somebody" not in file.data
            assert (Image.open(BytesIO(file.data)).info.get("icc_profile") is not None) == kept

    def test_pixels_are_drawn_on_as_files_are(self) -> None:
        stored = noise(64, 48)
        before = stored.copy()
        seen = Prediction((found("cat", (0.1, 0.1, 0.9, 0.9)),), "v1", 64, 48)
        after = opened(annotated(Picture(pixels=stored), seen, Options(), ["image/png"], NO_LIMIT))
        assert tuple(after[24, 6]) == colour_of("cat")
        assert np.array_equal(stored, before)


# The heap of a thread, as in the service, keeps more than the main one.
_GROWTH = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import psutil
from hotswap.predictions import Options, Picture, Prediction
from runners.drawing.draw import annotated
data = Path(sys.argv[1]).read_bytes()
def draw(_):
    annotated(Picture(encoded=data), Prediction((), "v1", 6000, 4000), Options(), ["image/jpeg"], 10**9)
before = psutil.Process().memory_info().rss
with ThreadPoolExecutor(2) as pool:
    list(pool.map(draw, range(8)))
    print(psutil.Process().memory_info().rss - before)
"""


@pytest.mark.timeout(60)
@pytest.mark.skipif(sys.platform != "linux", reason="only this C library keeps what is freed")
@pytest.mark.process
def test_the_memory_of_a_big_picture_goes_back_to_the_machine(tmp_path: Path) -> None:
    """The heap would keep the 96 MB of each thread's last one."""
    file = tmp_path / "big.jpg"
    file.write_bytes(paper(6000, 4000, "JPEG"))
    done = subprocess.run(
        [sys.executable, "-c", _GROWTH, str(file)], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert int(done.stdout) < 40_000_000

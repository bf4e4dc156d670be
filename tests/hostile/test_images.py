"""Image files made to do harm, and odd ones that programs and cameras have made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pyraface.core.errors import ErrorCode
from pyraface.core.protocol.messages import (
    Failed,
)
from tests.conftest import photos_folder
from tests.hostile import bombs
from tests.hostile.victim import (
    FRAME,
    MARK,
    Victim,
    done_to,
)

NO, CUT, LARGE = ErrorCode.NOT_AN_IMAGE, ErrorCode.IMAGE_TRUNCATED, ErrorCode.IMAGE_TOO_LARGE
OTHER = ErrorCode.FORMAT_NOT_READ

SEEN = None
"""It is an image after all, and is answered with the faces in it."""


class Sent(NamedTuple):
    """An image file, and the code it is answered with."""

    name: str
    make: Callable[[bytes], bytes]
    code: ErrorCode | None
    package: str = ""
    """The package that reads it."""


IMAGES = [
    Sent("PNG of 65535 x 65535", lambda _: bombs.png(65535, 65535, body=bombs.zeros(4)), LARGE),
    Sent(
        "PNG of 30000 x 30000 bits",
        lambda _: bombs.png(30000, 30000, bits=1, colour=0, body=bombs.zeros(108)),
        LARGE,
    ),
    Sent("PNG of 2^31 - 1 in width", lambda _: bombs.png(2**31 - 1, 1, body=bombs.zeros(1)), LARGE),
    Sent("PNG that says little and holds much", lambda _: bombs.png(64, 64, body=bombs.zeros(200)), SEEN),
    Sent(
        "PNG that is as large as allowed, and flat",
        lambda _: bombs.encoded(bombs.flat(4000, 2500), "PNG"),
        SEEN,
    ),
    Sent(
        "PNG with a text of 100 MB",
        lambda _: bombs.small_png(bombs.chunk(b"zTXt", b"k\0\0" + bombs.zeros(100))),
        SEEN,
    ),
    Sent(
        "PNG with a hundred texts",
        lambda _: bombs.small_png(*[bombs.chunk(b"zTXt", b"k\0\0" + bombs.zeros(1))] * 100),
        SEEN,
    ),
    Sent(
        "PNG with a profile of 100 MB",
        lambda _: bombs.small_png(bombs.chunk(b"iCCP", b"k\0\0" + bombs.zeros(100))),
        SEEN,
    ),
    Sent("PNG with a chunk of 2 GiB", lambda _: bombs.small_png(b"\x7f\xff\xff\xffzTXt"), CUT),
    Sent(
        "JPEG with a profile of 7 MB",
        lambda good: bombs.with_segment(good, 0xE2, b"ICC_PROFILE\0\1\1" + bytes(7_000_000)),
        SEEN,
    ),
    Sent("JPEG with EXIF that loops", lambda good: bombs.with_segment(good, 0xE1, bombs.exif(5000)), SEEN),
    Sent(
        "JPEG with EXIF of 65535 entries that are not there",
        lambda good: bombs.with_segment(good, 0xE1, bombs.exif(65535)[:1000]),
        SEEN,
    ),
    Sent(
        "JPEG with 7 MB of XMP",
        lambda good: bombs.with_segment(
            good, 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<a tiff:Orientation=" * 350_000
        ),
        SEEN,
    ),
    Sent("JPEG that is a web page and an archive", bombs.polyglot, SEEN),
    Sent("JPEG cut off", lambda good: good[: len(good) // 2], CUT),
    Sent("JPEG cut off in its header", lambda good: good[:150], CUT),
    Sent("JPEG that says it is larger", lambda good: bombs.resized_header(good, 4000, 2500), SEEN),
    Sent("JPEG that says 65500 x 65500", lambda good: bombs.resized_header(good, 65500, 65500), LARGE),
    Sent("JPEG that says it has no height", lambda good: bombs.resized_header(good, 512, 0), NO),
    Sent("JPEG of nothing but zeros", lambda _: b"\xff\xd8\xff" + bytes(1_000_000), NO),
    Sent("JPEG of a thousand scans", lambda _: bombs.many_scans(1000), OTHER),
    Sent("GIF with a screen of 65535 x 65535", lambda _: bombs.gif(65535, 65535, 1, 1), LARGE),
    Sent("GIF with a frame larger than its screen", lambda _: bombs.gif(10, 10, 65535, 65535), LARGE),
    Sent("GIF of 1000 frames", lambda _: bombs.animated("GIF", 1000), SEEN),
    Sent("WebP of 300 frames", lambda _: bombs.animated("WEBP", 300), SEEN),
    Sent("WebP with a canvas of 16383 x 16383", lambda _: bombs.webp_canvas(16383, 16383), LARGE),
    Sent("PNG of 300 frames", lambda _: bombs.animated("PNG", 300), SEEN),
    Sent("TIFF that loops", lambda _: bombs.looping_tiff(), SEEN),
    Sent("TIFF of 2^31 pixels", lambda _: bombs.tiff(2**31 - 1, 1), LARGE),
    Sent("TIFF with a billion strips", lambda _: bombs.tiff(64, 64, strips=2**30), CUT),
    Sent(
        "TIFF of deflated zeros", lambda _: bombs.tiff(4000, 2500, compression=8, body=bombs.zeros(100)), SEEN
    ),
    Sent(
        "TIFF of 16 bits, of deflated zeros",
        lambda _: bombs.tiff(4000, 2500, bits=16, compression=8, body=bombs.zeros(100)),
        SEEN,
    ),
    Sent("TIFF of 16 bits and 2^31 pixels", lambda _: bombs.tiff(2**31 - 1, 1, bits=16), LARGE),
    Sent("TIFF of 16 bits with a billion strips", lambda _: bombs.tiff(64, 64, bits=16, strips=2**30), CUT),
    Sent("TIFF of 16 bits without pixels", lambda _: bombs.tiff(4000, 2500, bits=16), CUT),
    Sent("TIFF of 400000 thumbnails", lambda _: bombs.tiff_of_thumbnails(400_000), OTHER),
    Sent("BMP of 2^31 pixels", lambda _: bombs.bmp(2**31 - 1, 1), LARGE),
    Sent("BMP of less than no height", lambda _: bombs.bmp(64, -(2**31)), LARGE),
    Sent(
        "BMP of runs without end",
        lambda _: bombs.bmp(4000, 2500, bits=8, compression=1, body=b"\0\2\xff\xff" * 1000),
        SEEN,
    ),
    Sent("HEIC that says it is larger", lambda _: bombs.heif(60000, 60000), LARGE),
    Sent("HEIC that says it is smaller", lambda _: bombs.heif(32, 32), CUT),
    Sent("JPEG 2000 of 40000 tiles", lambda _: bombs.jpeg_2000(3000, 15), OTHER),
    Sent("JPEG 2000 of 9 million tiles", lambda _: bombs.jpeg_2000(3000, 1), OTHER),
    Sent("AVIF cut off", lambda _: bombs.encoded(bombs.flat(), "AVIF")[:-40], CUT),
    Sent(
        "raw file with a photograph as its preview", lambda good: bombs.raw(good, 1500, 1000), SEEN, "rawpy"
    ),
    Sent("raw file of 45000 x 45000", lambda good: bombs.raw(good, 45000, 45000), LARGE, "rawpy"),
    Sent(
        "raw file with a preview that says 65500 x 65500",
        lambda good: bombs.raw(bombs.resized_header(good, 65500, 65500)),
        LARGE,
        "rawpy",
    ),
    Sent(
        "raw file with a preview of a thousand scans",
        lambda _: bombs.raw(bombs.many_scans(1000)),
        OTHER,
        "rawpy",
    ),
    Sent(
        "raw file with a preview cut off",
        lambda good: bombs.raw(good[: len(good) // 2], 600, 400),
        CUT,
        "rawpy",
    ),
    Sent(
        "raw file whose preview of 20000 x 8000 is not there",
        lambda _: bombs.raw_with_uncompressed_preview(20000, 8000),
        CUT,
        "rawpy",
    ),
    Sent("raw file that loops", bombs.raw_that_loops, OTHER, "rawpy"),
    Sent("raw file of nothing but zeros", lambda _: b"FUJIFILMCCD-RAW " + bytes(1_000_000), OTHER, "rawpy"),
    Sent("Canon raw (CR3) of boxes in boxes", lambda _: bombs.boxes(), OTHER, "rawpy"),
    Sent("JPEG XL of 2^30 x 2^30", lambda _: bombs.jpeg_xl_header(2**30), LARGE, "imagecodecs"),
    Sent(
        "JPEG XL of 3000 x 3000 that is not there", lambda _: bombs.jpeg_xl_header(3000), CUT, "imagecodecs"
    ),
    Sent(
        "JPEG XL that is as large as allowed, and flat",
        lambda _: bombs.jpeg_xl(np.zeros((2500, 4000, 3), np.uint8)),
        SEEN,
        "imagecodecs",
    ),
    Sent(
        "JPEG XL of 16 bits that is as large as allowed",
        lambda _: bombs.jpeg_xl(np.zeros((2500, 4000, 3), np.uint16)),
        SEEN,
        "imagecodecs",
    ),
    Sent(
        "JPEG XL of 300 frames",
        lambda _: bombs.jpeg_xl(np.zeros((300, 64, 64, 3), np.uint8), photometric="rgb"),
        SEEN,
        "imagecodecs",
    ),
    Sent(
        "JPEG XL cut off",
        lambda _: bombs.jpeg_xl(np.asarray(bombs.noise(300, 200)))[:-5000],
        CUT,
        "imagecodecs",
    ),
    Sent("SVG of a billion laughs", lambda _: bombs.LAUGHS, NO),
    Sent("PNG of 60000 x 1", lambda _: bombs.encoded(bombs.noise(60000, 1), "PNG"), SEEN),
    Sent("PNG of 1 x 60000", lambda _: bombs.encoded(bombs.noise(1, 60000), "PNG"), SEEN),
    Sent("PNG of 10 x 60000", lambda _: bombs.encoded(bombs.noise(10, 60000), "PNG"), SEEN),
    Sent("PNG of one pixel", lambda _: bombs.encoded(bombs.noise(1, 1), "PNG"), SEEN),
    Sent("JPEG of noise", lambda _: bombs.encoded(bombs.noise(3000, 2000), "JPEG", quality=50), SEEN),
    Sent(
        "JPEG of five thousand faces",
        lambda good: bombs.encoded(bombs.crowd(good, 4000, 2500, 44), "JPEG"),
        SEEN,
    ),
    Sent("an archive", lambda _: b"PK\x03\x04" + bytes(1000), NO),
    Sent("a program", lambda _: b"\x7fELF" + bytes(1000), NO),
    Sent("a path", lambda _: b"/etc/passwd", NO),
    Sent("nothing", lambda _: b"", NO),
]


@pytest.mark.parametrize("sent", IMAGES, ids=lambda sent: sent.name)
def test_what_an_image_holds(victim: Victim, sent: Sent) -> None:
    if sent.package:
        pytest.importorskip(sent.package, reason=f"{sent.package} is not installed: pip install '.[test]'")
    image = sent.make(victim.photograph)
    assert len(image) < FRAME - 100

    async def attack(victim: Victim) -> None:
        answer = await victim.answer(image)
        assert (answer.code if isinstance(answer, Failed) else None) is sent.code, answer
        if isinstance(answer, Failed):
            assert MARK not in answer.message

    done_to(victim, attack)


def odd_formats() -> list[object]:
    folder = photos_folder()
    files = sorted((folder / "odd_formats").iterdir()) if folder is not None else []
    absent = pytest.mark.skip(reason="no photographs: set PYRAFACE_PHOTOS, or lay them at ../shared/photos")
    return [pytest.param(file, id=file.name) for file in files] or [pytest.param(Path(), marks=absent)]


@pytest.mark.parametrize("file", odd_formats())
def test_what_programs_and_cameras_have_made(victim: Victim, file: Path) -> None:
    image = file.read_bytes()

    async def attack(victim: Victim) -> None:
        answer = await victim.answer(image)
        if isinstance(answer, Failed):
            assert answer.code in (NO, OTHER, CUT, LARGE), answer

    done_to(victim, attack)

"""core/images/gif.py: frames are counted as Pillow counts them, in any file, in bounded time."""

from __future__ import annotations

import io
import time

import pytest
from PIL import Image

from pyraface.core.images import gif
from tests.core.images.files import encoded


def animation(frames: int, **options: object) -> bytes:
    pictures = [Image.effect_noise((20, 10), 80).convert("P") for _ in range(frames)]
    return encoded(pictures[0], "GIF", save_all=True, append_images=pictures[1:], **options)


@pytest.mark.parametrize("frames", [1, 2, 3, 40])
@pytest.mark.parametrize("options", [{}, {"comment": b"x" * 1000}, {"interlace": 1, "loop": 0}], ids=str)
def test_frames_are_counted(frames: int, options: dict[str, object]) -> None:
    data = animation(frames, **options)
    assert gif.frames(data) == frames
    with Image.open(io.BytesIO(data)) as image:
        assert getattr(image, "n_frames", 1) == frames


def test_a_file_that_ends_early_has_the_frames_that_begin() -> None:
    data = animation(5)
    counts = [gif.frames(data[:end]) for end in range(len(data) + 1)]
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2, 3, 4, 5}


def test_a_file_of_blocks_alone_is_left_soon() -> None:
    head = b"GIF89a\1\0\1\0\0\0\0"
    started = time.process_time()
    for body in (b",\0\0\0\0\1\0\1\0\0\2\0" * 5_000_000, b"!\xff" + b"\1x" * 30_000_000):
        assert gif.frames(head + body) <= gif.MAX_BLOCKS
    assert time.process_time() - started < 6

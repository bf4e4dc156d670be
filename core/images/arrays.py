"""Arrays: pixels in memory (NumPy arrays and PIL images) as pictures, and as lossless files."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ..parameters import ImageLimits
from .checks import check_size, errors_of_decoder
from .decode import Picture
from .inputs import Pixels
from .pixels import upright

PNG_EFFORT = 1
"""Of 9. A photograph of 12 Mpx takes 0.6 s, and a fifth of the bytes of its pixels; more effort takes four times as long for
a tenth less, and no compression fills the network and the server's limits with pixels."""


def picture(image: Pixels, limits: ImageLimits) -> Picture:
    """Returns the picture of these pixels as they stand: the orientation in a PIL image's EXIF is not applied.

    Other modes are converted to RGB as in a file: alpha is dropped, gray of 16 bits is scaled to 8. The caller's image is
    loaded, and otherwise unchanged.

    Args:
        image: one that `inputs.checked` has passed.

    Raises:
        ImageError: the image is larger than `limits`, or a PIL image cannot be loaded from its file.
    """
    if isinstance(image, np.ndarray):
        check_size((image.shape[1], image.shape[0]), limits)
        return Picture.whole(np.ascontiguousarray(image))
    check_size(image.size, limits)
    with errors_of_decoder("PIL image"):
        image.load()
        if "transparency" in image.info:  # Pillow would warn of it
            image = image.copy()
            del image.info["transparency"]
        return Picture.whole(upright(image, 1))


def lossless_file(image: Pixels, limits: ImageLimits) -> bytes:
    """Returns the bytes of a PNG file with exactly the pixels of `picture`.

    Raises:
        ImageError: as for `picture`.
    """
    stream = io.BytesIO()
    Image.fromarray(picture(image, limits).pixels).save(stream, "PNG", compress_level=PNG_EFFORT)
    return stream.getvalue()

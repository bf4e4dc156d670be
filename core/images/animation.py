"""Animation: the frames of a file that Pillow reads, and the first of them that is not blank."""

from __future__ import annotations

from PIL import ImageFile

from ..errors import ImageError, ImageMemoryError
from ..pages import MAX_PAGE_PIXELS, MAX_PAGES, Unread
from ..parameters import ImageLimits
from . import formats, gif, png
from .checks import check_size, errors_of_decoder
from .pixels import is_blank


def frames(name: str, data: bytes, image: ImageFile.ImageFile) -> int:
    """Returns the number of frames in a file, or of images in a HEIC; at least 1.

    Args:
        image: the file, opened by the parser of the format `name`, but not loaded.
    """
    if name == "GIF":
        return max(1, gif.frames(data))
    if name == "PNG":
        return png.frames(data)
    return int(getattr(image, "n_frames", 1))


def first_not_blank(
    name: str, data: bytes, image: ImageFile.ImageFile, count: int, limits: ImageLimits
) -> tuple[ImageFile.ImageFile, int, list[Unread]]:
    """Returns an animation loaded at its first frame that is not of one colour, the number of that frame, and the frame that
    could not be read, if there is one.

    Up to MAX_PAGES frames are looked at, and MAX_PAGE_PIXELS of them. If all are blank, or one that follows blank frames
    cannot be read, the first frame is returned.

    Args:
        image: the file `data`, opened by the parser of the format `name`, and loaded at its first frame.
        count: number of its frames.
    """
    if not is_blank(image):
        return image, 0, []
    most = min(count, MAX_PAGES, MAX_PAGE_PIXELS // (image.width * image.height))
    unread: list[Unread] = []
    number = 1
    try:
        with errors_of_decoder(name):
            animation = formats.opened(name, png.essential(data, animated=True)) if name == "PNG" else image
            for number in range(1, most):
                animation.seek(number)
                animation.load()
                check_size(animation.size, limits)
                if not is_blank(animation):
                    return animation, number, []
    except ImageMemoryError:
        raise
    except ImageError as error:
        unread.append(Unread(number, str(error)))
    if name == "GIF":
        image = formats.opened(name, data)  # seek would keep the canvas that a later frame has enlarged
    image.seek(0)
    image.load()
    return image, 0, unread

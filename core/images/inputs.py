"""Image inputs: the forms in which a caller may pass one image, or many, checked before any work begins.

No image library is imported here: a client that passes paths needs none.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, TypeVar, Union

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

    PillowImage = Image.Image
else:
    PillowImage = Any


class BinaryFile(Protocol):
    """A file opened in binary mode, or anything else whose read() returns the bytes of an image file."""

    def read(self) -> bytes: ...


FileContent = Union[bytes, bytearray, memoryview, BinaryFile]  # noqa: UP007  Python 3.10 cannot join all of these with |

Pixels = Union[NDArray[np.uint8], PillowImage]  # noqa: UP007

ImageInput = Union[str, "os.PathLike[str]", FileContent, Pixels]
"""One image: a path; the bytes of an image file; a file object with them; pixels as a NumPy array, (height, width, 3) uint8
in the order red, green, blue; or a PIL image, whose pixels count as they stand: its EXIF orientation is not applied."""

Item = TypeVar("Item", bound=ImageInput)

WHAT_IS_AN_IMAGE = (
    "a path (str or os.PathLike), the bytes of an image file, a file opened in binary mode, "
    "a NumPy array of shape (height, width, 3), uint8, RGB, or a PIL image"
)


def checked(image: Item) -> Item:
    """Returns an image that has one of the forms of `ImageInput`.

    Raises:
        TypeError: it has another form; the message names the allowed ones.
    """
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise TypeError(
                "an array must have the shape (height, width, 3) and the type uint8, in the order red, green, blue "
                f"(OpenCV's order is blue, green, red: pass image[:, :, ::-1]), not {image.shape} {image.dtype}"
            )
    elif isinstance(image, io.TextIOBase):
        raise TypeError('a file must be opened in binary mode: open(path, "rb")')
    elif not (isinstance(image, (str, os.PathLike)) or is_file_content(image) or is_pixels(image)):
        many = "; for many images use map" if isinstance(image, (Iterable, AsyncIterable)) else ""
        raise TypeError(f"an image must be {WHAT_IS_AN_IMAGE}, not {type(image).__name__}{many}")
    return image


def checked_many(images: object, caller: str) -> None:
    """Checks that `images` is an iterable of images, and each image of a list or a tuple.

    Raises:
        TypeError: it is one image, or not an iterable, or an image has no form of `ImageInput`.
    """
    one = isinstance(images, (str, os.PathLike)) or is_file_content(images) or is_pixels(images)
    if one and not (isinstance(images, np.ndarray) and images.ndim > 3):
        raise TypeError(
            f"{caller} takes an iterable of images, not one image ({type(images).__name__}): pass [image] or use detect"
        )
    if not isinstance(images, (Iterable, AsyncIterable)):
        raise TypeError(f"{caller} takes an iterable of images, not {type(images).__name__}")
    if isinstance(images, Sequence):
        for image in images:
            checked(image)


def each_checked(images: Iterable[Item]) -> Iterator[Item]:
    """Yields images, each `checked`."""
    return map(checked, images)


async def each_checked_later(images: AsyncIterable[Item]) -> AsyncIterator[Item]:
    """Yields the images of an asynchronous iterable, each `checked`."""
    async for image in images:
        yield checked(image)


def is_file_content(image: object) -> TypeGuard[FileContent]:
    """Returns whether an image is given as the bytes of a file, or as a file object."""
    return isinstance(image, (bytes, bytearray, memoryview)) or callable(getattr(image, "read", None))


def is_pixels(image: object) -> TypeGuard[Pixels]:
    """Returns whether an image is given as pixels: as an array or a PIL image."""
    # a PIL image can only come from where PIL is imported already
    pillow = sys.modules.get("PIL.Image")
    return isinstance(image, np.ndarray) or (pillow is not None and isinstance(image, pillow.Image))


def file_content(image: FileContent) -> bytes:
    """Returns the bytes of an image file given as bytes or as a file object, which is read from its current position.

    Raises:
        TypeError: the file object's read() returns no bytes.
        OSError: it cannot be read.
    """
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    content = image.read()
    if not isinstance(content, bytes):
        raise TypeError(
            f"the read() of a file must return bytes, not {type(content).__name__}: open it in binary mode"
        )
    return content

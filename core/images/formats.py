"""Formats: the one parser that opens each supported image format.

Images come from strangers, so each file reaches only one parser: its first bytes select a format (`signatures`), and only
that format's plugin class is called. `Image.open` would offer the bytes to every plugin, import forty of them, and apply
`Image.MAX_IMAGE_PIXELS`, a global that an embedding application may rely on and that a thread cannot change for itself.
"""

from __future__ import annotations

import functools
import importlib
import io
from typing import NamedTuple, cast

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from ..errors import FormatNotReadError
from .signatures import JPEG_XL

CAMERA_RAW = "camera raw file"


class Package(NamedTuple):
    """A package that reads a format where it is installed.

    Attributes:
        name: of the package, and of its module.
        extra: of pyraface, which installs it.
        reader: the module here that uses it.
    """

    name: str
    extra: str
    reader: str


PACKAGES = {
    CAMERA_RAW: Package("rawpy", "raw", "raw"),
    JPEG_XL: Package("imagecodecs", "jxl", "jpeg_xl"),
}
"""The formats that need a package beyond the requirements of pyraface."""

FORMATS = {
    "JPEG": (__name__, "_Jpeg"),  # an MPO too: its first picture is an ordinary JPEG
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "HEIC": ("pillow_heif", "HeifImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "JPEG 2000": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
}
"""The formats that are read, and the class that reads each; its module is imported with the first image of that format."""

_IMPORTED_LATE = ("PIL.ImageCms", "PIL.ImageColor", "PIL.ImagePalette", "PIL.TiffImagePlugin", "mmap")
"""Modules that Pillow imports inside functions, on the way from a file to RGB."""


def opened(name: str, data: bytes) -> ImageFile.ImageFile:
    """Returns the image, its header read by the parser of the format `name`, its pixels not decoded."""
    module, kind = FORMATS[name]
    opener = getattr(importlib.import_module(module), kind)
    return cast("ImageFile.ImageFile", opener(io.BytesIO(data)))


def require(name: str) -> None:
    """Checks that the package for a format of PACKAGES is installed.

    Raises:
        FormatNotReadError: it is not.
    """
    package = PACKAGES[name]
    if not _installed(name):
        raise FormatNotReadError(
            f"a {name} is read where {package.name} is installed: pip install {package.name}, "
            f"or install pyraface with the extra [{package.extra}]",
            package=package.name,
        )


@functools.cache
def _installed(name: str) -> bool:
    """Returns whether the reader of a format can be imported; asked for once, because a confined process opens no file."""
    try:
        importlib.import_module(PACKAGES[name].name)
        importlib.import_module(f".{PACKAGES[name].reader}", __package__)
    except ImportError:
        return False
    return True


def load_decoders() -> None:
    """Imports every module that `decode` may need later: for a process that is about to lose the right to open files."""
    for module in (*(module for module, _ in FORMATS.values()), *_IMPORTED_LATE):
        importlib.import_module(module)
    for name in PACKAGES:
        _installed(name)


class _Jpeg(JpegImageFile):
    """A JPEG whose EXIF is not parsed: the plugin would parse all of it to find a resolution, and warn about its faults."""

    def getexif(self) -> Image.Exif:
        return Image.Exif()

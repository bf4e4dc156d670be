"""Encoded bytes -> an upright RGB array. Whatever the bytes are, the outcome is a Picture or an ImageError.

Images come from strangers, so few parsers ever see them: the first bytes pick one of eight, and that plugin's class is
called by itself. `Image.open` would offer them to every plugin, import forty of them, and apply
`Image.MAX_IMAGE_PIXELS`, a global that an embedding application may rely on and that no thread can change for itself.
Here the limits are a parameter, checked when a plugin has read the header. Pillow's global stays as it is; WebP, GIF
and TIFF still heed it inside their plugins (an error from 179 Mpx on) until `claim_pillow` lifts it.

Nothing here touches the warning filters either: `catch_warnings` changes them for all threads. Most of what Pillow
warns of is avoided: orientations are read below, a palette's transparency is dropped before it is converted. What is
left (odd tags of a TIFF, broken EXIF in an AVIF, a broken APNG header) is a warning, or where a process makes
warnings errors, a TruncatedImage.
"""

from __future__ import annotations

import importlib
import io
import re
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from ..errors import ImageError, ImageTooLarge, NotAnImage, TruncatedImage
from ..parameters import ImageLimits
from ..text import one_line
from . import jpeg

FORMATS = {
    "JPEG": (__name__, "_Jpeg"),  # an MPO too: its first picture is an ordinary JPEG
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "HEIC": ("pillow_heif", "HeifImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
}
"""What is read, and by which class; a module is imported when the first image of its kind comes."""

_MAGIC = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"GIF8[79]a", "GIF"),
    (rb"RIFF....WEBP", "WebP"),
    (rb"II\*\0....CR", "Canon raw (CR2)"),
    (rb"II[*+]\0|MM\0[*+]", "TIFF"),
    (rb"BM", "BMP"),
    # named so that a person learns what the file is, and that this is not a fault of the file
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\0\0\0\x0cJXL |\xff\x0a", "JPEG XL"),
    (rb"8BPS", "Photoshop"),
    (rb"%PDF", "PDF"),
    (rb"\0\0[\1\2]\0", "Windows icon"),
    (rb"FUJIFILMCCD-RAW|IIRO|IIU\0", "camera raw"),
    (rb"gimp xcf", "GIMP"),
    (rb"\s*<(\?xml|svg)", "SVG or XML"),
    (rb"....ftypcrx ", "Canon raw (CR3)"),
    (rb"....ftyp(isom|iso[2-9]|mp4|avc1|M4V|qt  |3gp)|RIFF....AVI |\x1aE\xdf\xa3", "video"),
)
_BRANDS = re.compile(rb"(hei[cxms]|hev[cxms])|(avi[fs])")

_TAG_REDUCED, _TAG_ORIENTATION, _TAG_DNG = 254, 274, 50706
_NO_PIXELS = "not identified by this driver"
"""What Pillow says of a header whose width or height is 0."""
_IMPORTED_LATE = ("PIL.ImageCms", "PIL.ImageColor", "PIL.ImagePalette", "PIL.TiffImagePlugin", "mmap")
"""What Pillow imports inside of functions, on the way from a file to RGB."""
_STRIP_PIXELS = 1 << 20
"""Pixels that are converted at a time: what one takes beside the picture and the result is a few MB."""

_TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image of each EXIF orientation upright (EXIF 2.32, tag 0x0112)."""
_LAST_ROW_FIRST = {3, 4, 6, 7}
_ON_ITS_SIDE = {5, 6, 7, 8}


@dataclass(frozen=True, eq=False)
class Picture:
    """One image, upright.

    Attributes:
        pixels: (height, width, 3) uint8, RGB, C-contiguous; a JPEG's may be fewer than its width and height by a factor.
        width, height: upright, as the file has them.
        orientation: 1 to 8, the EXIF orientation that was applied to what the file stores; 1 where it says none, or
            nothing sensible. Always 1 for HEIC and AVIF: they turn the picture as part of decoding it, and an EXIF
            orientation beside that is to be ignored, as phones write both.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    orientation: int

    @classmethod
    def whole(cls, pixels: NDArray[np.uint8], orientation: int = 1) -> Picture:
        """Returns the picture that has just these pixels."""
        height, width, _ = pixels.shape
        return cls(pixels, width, height, orientation)


Reduction = Callable[[int, int], int]
"""Tells from a width and a height by which factor, 1, 2, 4 or 8, both may be smaller."""


def _not_at_all(width: int, height: int) -> int:
    del width, height
    return 1


def at_once(pixels: int) -> None:
    """Admits every picture."""
    del pixels


def decode(
    data: bytes,
    limits: ImageLimits,
    *,
    reduction: Reduction = _not_at_all,
    admit: Callable[[int], None] = at_once,
) -> Picture:
    """Returns the picture in an image file: of several, the first (in HEIC, the primary one).

    Alpha is dropped and not blended with a background: face_recognition.load_image_file does so, and an invented
    background would put edges into faces. Colour profiles are not applied, for the same reason. Gray of 16 bits is
    scaled to 8; other wide numbers, which have no agreed range, from their own least and greatest.

    May be called by any number of threads. Takes 3 bytes a pixel at its peak for a sound JPEG in colour, 6 where it has to
    be turned; 7 for others, 4 in Pillow and 3 in the result; 10 for AVIF and 16 for WebP, whose libraries hold more.

    Args:
        reduction: is asked about a JPEG, whose decoder leaves out what a reduced picture does not show, in less time.
        admit: is told the number of pixels before they are decoded, and may wait until there is room for them.

    Raises:
        NotAnImage: no format that is read, or an image without pixels.
        TruncatedImage: a file that is cut off or damaged, or a rare kind of its format.
        ImageTooLarge: more pixels or a longer side than `limits`; found before the pixels are decoded.
    """
    name = _format(data)
    if name == "WebP" and (size := _webp_size(data)):
        _check_size(size, limits)  # its plugin takes memory for the pixels when it opens
    with _blamed_on(name), _opened(name, data) as image:
        _check_size(image.size, limits)
        if name == "TIFF" and (image.tag_v2.get(_TAG_REDUCED) == 1 or _TAG_DNG in image.tag_v2):
            raise NotAnImage(f"a camera's raw file, whose first picture is a preview; {_what_is_read()}")
        tag = image.tag_v2.get(_TAG_ORIENTATION) if name == "TIFF" else None
        width, height = image.size
        if name == "JPEG" and jpeg.scans(data) > jpeg.MAX_SCANS:
            raise TruncatedImage(
                f"a JPEG of more than {jpeg.MAX_SCANS} scans: no camera and no program makes it so"
            )
        if name == "JPEG" and (factor := reduction(width, height)) > 1:
            image.draft(None, (width // factor, height // factor))
        admit(image.width * image.height)
        loaded: Image.Image | NDArray[np.uint8] | None = None
        if name == "JPEG" and image.size == (width, height):
            loaded = jpeg.decoded(data, width, height)
        if loaded is None:
            image.load()
            _check_size(image.size, limits)  # a HEIC may hold more than its header says
            image.info.pop("transparency", None)
            loaded = image
        found = _orientation(image.info, tag)  # after loading: a PNG may have it behind the pixels
        # two plugins give it upright already; AVIF's gives what the container says as if it were EXIF's orientation
        turn = 1 if name in ("HEIC", "TIFF") else found
        pixels = _upright(loaded, turn)
        if name != "JPEG":
            return Picture.whole(pixels, 1 if name in ("HEIC", "AVIF") else found)
        return Picture(pixels, *((height, width) if turn in _ON_ITS_SIDE else (width, height)), found)


def claim_pillow(limits: ImageLimits) -> None:
    """Makes Pillow, in this whole process, share these limits and keep its warnings to itself.

    For a process that reads images for pyraface alone; called once, before it has threads. Elsewhere the application
    decides: a WebP or TIFF beyond Pillow's own limit is an ImageTooLarge there even where `limits` allow it.
    """
    # never None: the GIF plugin takes memory for a frame before `decode` has seen its size. It refuses from twice this
    Image.MAX_IMAGE_PIXELS = (limits.max_pixels + 1) // 2
    warnings.filterwarnings("ignore", module=r"PIL\.")


def load_decoders() -> None:
    """Imports whatever `decode` might import later: for a process that will not be able to open a file by then."""
    for module in (*(module for module, _ in FORMATS.values()), *_IMPORTED_LATE):
        importlib.import_module(module)


# telling formats apart, and opening one


class _Jpeg(JpegImageFile):
    """A JPEG whose EXIF is left alone: to look for a resolution there, the plugin parses all of it, and warns."""

    def getexif(self) -> Image.Exif:
        return Image.Exif()


def _what_is_read() -> str:
    return f"the formats read are {', '.join(FORMATS)}"


def _format(data: bytes) -> str:
    """Returns the key of FORMATS that the first bytes tell of."""
    if not data:
        raise NotAnImage("the file is empty")
    if data[4:8] == b"ftyp":
        # a box: its length, its name, the major brand, a version, then the brands the file is compatible with
        end = min(int.from_bytes(data[:4], "big"), 256)
        brands = [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]
        for known in filter(None, map(_BRANDS.fullmatch, brands)):
            return "HEIC" if known[1] else "AVIF"
        if data[8:12] in (b"mif1", b"msf1"):
            return "HEIC"
    for magic, name in _MAGIC:
        if re.match(magic, data[:64], re.DOTALL):
            if name in FORMATS:
                return name
            raise NotAnImage(f"a file of the kind {name}; {_what_is_read()}")
    raise NotAnImage(f"not an image; {_what_is_read()}")


@contextmanager
def _blamed_on(name: str) -> Iterator[None]:
    """Turns whatever a decoder raises into an ImageError.

    Every Exception: on hostile bytes Pillow, its plugins and their C libraries raise OSError, SyntaxError, ValueError,
    KeyError, IndexError, TypeError, OverflowError, EOFError, RuntimeError, struct.error, zlib.error, AssertionError and
    more, a set that no one documents and every release changes. One missed would take a server's thread down.
    """
    try:
        yield
    except ImageError:
        raise
    except (MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = _reason(error) or "it takes more memory than there is"
        raise ImageTooLarge(f"a {name} too large for this machine or its Pillow: {reason}") from error
    except Exception as error:
        if isinstance(error, SyntaxError) and str(error) == _NO_PIXELS:
            raise NotAnImage(f"a {name} without pixels") from error
        reason = _reason(error) or type(error).__name__
        raise TruncatedImage(f"a {name} that is cut off, damaged or of a rare kind: {reason}") from error


def _reason(error: Exception) -> str:
    return one_line(" ".join(str(error).split()), 200)


def _opened(name: str, data: bytes) -> ImageFile.ImageFile:
    module, kind = FORMATS[name]
    opener = getattr(importlib.import_module(module), kind)
    return cast("ImageFile.ImageFile", opener(io.BytesIO(data)))


def _check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise NotAnImage(f"an image without pixels: {width} x {height}")
    if max(size) > limits.max_side:
        raise ImageTooLarge(
            f"{width} x {height} pixels: a side may have {limits.max_side} (params/images/max_side in parameters.xml)"
        )
    if width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"{width} x {height} are {width * height} pixels: an image may have {limits.max_pixels} "
            "(params/images/max_pixels in parameters.xml)"
        )


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Returns (width, height) from a WebP header, None where it is damaged (RFC 9649, sections 2.5 to 2.7)."""
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X" and len(body) == 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a" and len(body) == 10:
        width, height = struct.unpack("<HH", body[6:10])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and body[:1] == b"\x2f" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


# orientation


def _orientation(info: dict[str | tuple[int, int], object], tag: object) -> int:
    """Returns the orientation that an image's metadata asks for: a TIFF's tag, EXIF, or XMP. 1 for all nonsense."""
    value = tag
    if value is None:
        value = _exif_orientation(_exif(info))
    if value is None:
        value = _xmp_orientation(info.get("xmp") or info.get("XML:com.adobe.xmp"))
    return value if isinstance(value, int) and value in _TRANSPOSED else 1


def _exif(info: dict[str | tuple[int, int], object]) -> bytes:
    exif, text = info.get("exif"), info.get("Raw profile type exif")
    if isinstance(exif, bytes):
        return exif
    try:
        # how ImageMagick wrote EXIF into a PNG: an empty line, its name, its length, and hexadecimal lines
        return bytes.fromhex("".join(text.split("\n")[3:])) if isinstance(text, str) else b""
    except ValueError:
        return b""


def _exif_orientation(exif: bytes) -> int | None:
    """Returns the orientation tag of the first directory (TIFF 6.0, section 2), None where there is none."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    try:
        if order is None:
            return None
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
            if tag == _TAG_ORIENTATION:
                # a SHORT by the standard; some write a BYTE or a LONG
                return int(struct.unpack_from(order + {1: "B", 4: "I"}.get(kind, "H"), exif, entry + 8)[0])
    except struct.error:
        return None  # it ends too early: what is behind that is lost
    return None


def _xmp_orientation(xmp: object) -> int | None:
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "replace")
    found = re.search(rb'tiff:Orientation(?:="|>)([0-9])', xmp) if isinstance(xmp, bytes) else None
    return int(found[1]) if found else None


# pixels


def _upright(image: Image.Image | NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Returns (height, width, 3) uint8 of a loaded image, or of its pixels, turned by an EXIF orientation.

    Strip by strip: converting or turning it whole would take another 4 bytes a pixel each, and np.asarray two more
    copies of 3.
    """
    if isinstance(image, np.ndarray):
        if orientation not in _TRANSPOSED:
            return image
        height, width, _ = image.shape
        spread = None
    else:
        width, height = image.size
        spread = _spread(image) if image.mode in ("I", "F") else None
    turned = orientation in _ON_ITS_SIDE
    pixels = np.empty((width, height, 3) if turned else (height, width, 3), np.uint8)
    for top, strip in _strips(image):
        rgb = _rgb(strip, spread)
        if orientation in _TRANSPOSED:
            rgb = rgb.transpose(_TRANSPOSED[orientation])
        start = height - top - strip.height if orientation in _LAST_ROW_FIRST else top
        part = slice(start, start + strip.height)
        pixels[(slice(None), part) if turned else part] = np.asarray(rgb)
    return pixels


def _strips(image: Image.Image | NDArray[np.uint8]) -> Iterator[tuple[int, Image.Image]]:
    """Yields (top row, strip of whole rows)."""
    height, width = image.shape[:2] if isinstance(image, np.ndarray) else (image.height, image.width)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        end = min(top + rows, height)
        if isinstance(image, np.ndarray):
            yield top, Image.fromarray(image[top:end])
        else:
            yield top, image.crop((0, top, width, end))


def _spread(image: Image.Image) -> tuple[float, float]:
    """Returns the (least, greatest) finite value."""
    low, high = np.inf, -np.inf
    for _, strip in _strips(image):
        values = np.asarray(strip)
        values = values[np.isfinite(values)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def _rgb(strip: Image.Image, spread: tuple[float, float] | None) -> Image.Image:
    if strip.mode.startswith("I;16"):
        # 65535 / 257 is 255; Pillow itself would cut off all above 255
        gray = (np.asarray(strip).astype(np.uint32) + 128) // 257
        strip = Image.fromarray(gray.astype(np.uint8))
    elif spread is not None:
        low, high = spread
        scale = 255 / (high - low) if high > low else 0.0
        values = np.nan_to_num(np.asarray(strip).astype(np.float64), nan=low, posinf=high, neginf=low)
        strip = Image.fromarray(np.clip((values - low) * scale + 0.5, 0, 255).astype(np.uint8))
    return strip if strip.mode == "RGB" else strip.convert("RGB")

"""parameters.xml: what it may hold, and the frozen values it becomes.

Each idea stands in one place: a field below says its element's name, what it may hold and what it means; one
reader reads them all. `parse` is pure; `load` reads a file, as nothing else in core does but `keyfile`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from importlib import resources
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError  # nosec B405: a class to catch; defusedxml parses

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ..errors import ParametersError
from ..text import one_line
from .values import Choice, Interfaces, Number, Text, Value, Whole

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # nosec B405: a name for the type checker; defusedxml parses

FILE_NAME = "parameters.xml"
ENVIRONMENT = "PYRAFACE_PARAMETERS"
MAX_FILE_BYTES = 1 << 20
"""A hundred times the packaged file with its comments; more is some other file."""
MAX_TILE_PIXELS = 100_000_000
"""The detector's first layer alone takes 90 bytes a pixel: dlib's pyramid holds 3.3 pixels for each one, as 3 floats
going in and 16 / 4 coming out. So 9 GB here, and several times that with what the layers need to work."""
MAX_UPSAMPLE, MAX_LEVELS = 4, 5
"""Beyond 16 times its size a picture shows nothing new; the fifth level has 256 tiles."""
_ROOT = "params"
_SHOWN_CHARACTERS = 40


_VALUE = "value"


def _whole(name: str, default: int, low: int, high: int, meaning: str, *, required: bool = False) -> int:
    return field(default=default, metadata={_VALUE: Whole(name, meaning, required, low, high)})


def _number(
    name: str, default: float, low: float, high: float, meaning: str, *, required: bool = False
) -> float:
    return field(default=default, metadata={_VALUE: Number(name, meaning, required, low, high)})


# what the file holds


@dataclass(frozen=True)
class Section:
    """The values of one element of <params>."""

    def problem(self) -> str | None:
        """Returns what is wrong with these values together, None where nothing is."""
        return None


@dataclass(frozen=True)
class DetectionParameters(Section):
    """The pyramid. A tile is zoomed by up to 2^upsample, and never to more than `tile_pixels`."""

    height: int = _whole("height", 600, 16, 20000, "a tile's height in pixels", required=True)
    width: int = _whole("width", 400, 16, 20000, "a tile's width in pixels", required=True)
    upsample: int = _whole("upsample", 2, 0, MAX_UPSAMPLE, "times a tile may double in size", required=True)
    levels: int = _whole(
        "levels", 2, 1, MAX_LEVELS, "levels of the pyramid: the whole, its quadrants, and so on"
    )
    most_tiles: int = _whole(
        "most_tiles", 85, 1, 341, "the most tiles for an image whose client wants smaller faces"
    )
    adaptive: int = _whole(
        "adaptive", 0, 0, 1, "1: deeper levels look only where the one above responded; 0: everywhere"
    )
    threshold: float = _number("threshold", 0.0, -1, 2, "the confidence that a face must exceed")
    reduced_decoding: int = _whole(
        "reduced_decoding", 0, 0, 1, "1: leave out pixels of a JPEG that no level needs; 0: decode all"
    )
    screening: int = _whole(
        "screening", 1, 0, 1, "1: float32 only where 8-bit integers leave room for a face; 0: everywhere"
    )

    @property
    def tile_pixels(self) -> int:
        """The most pixels of one tile after zooming; height and width count only by their product."""
        return int(self.height * self.width * 4**self.upsample)

    def problem(self) -> str | None:
        if self.tile_pixels <= MAX_TILE_PIXELS:
            return None
        product = f"height {self.height} * width {self.width} * 4^upsample {self.upsample}"
        return (
            f"asks for tiles of {self.tile_pixels / 1e6:.1f} Mpx ({product}); "
            f"at most {MAX_TILE_PIXELS / 1e6:.0f} Mpx is allowed: lower one of the three"
        )


@dataclass(frozen=True)
class FusionParameters(Section):
    """When two boxes are one face."""

    same_overlap: float = _number("same_overlap", 0.5, 0, 1, "one face from this intersection over union on")
    doubtful_overlap: float = _number(
        "doubtful_overlap", 0.4, 0, 1, "two faces below this intersection over union"
    )
    encoding_distance: float = _number(
        "encoding_distance", 0.5, 0, 2, "in between: one face below this distance of the encodings"
    )

    def problem(self) -> str | None:
        if self.doubtful_overlap <= self.same_overlap:
            return None
        return (
            f"has doubtful_overlap {self.doubtful_overlap:g} above same_overlap {self.same_overlap:g}; "
            "it must not be the larger one"
        )


@dataclass(frozen=True)
class EncodingParameters(Section):
    """How a face becomes an encoding, and from which quality on that is worth comparing.

    jitters and landmarks are face_recognition's; docs/accuracy.md has the figures that chose the others.
    """

    jitters: int = _whole(
        "jitters",
        1,
        1,
        100,
        "pictures of a face, turned and moved a little, that its encoding is the mean of",
    )
    landmarks: int = _whole("landmarks", 5, 5, 68, "points by which a face is put upright, 5 or 68")
    least_size: int = _whole(
        "least_size", 25, 0, 1000, "pixels of a face from which on its encoding is worth comparing"
    )
    least_sharpness: float = _number(
        "least_sharpness", 0.35, 0, 1, "sharpness of a face from which on its encoding is worth comparing"
    )

    def problem(self) -> str | None:
        if self.landmarks in (5, 68):
            return None
        return f"has landmarks {self.landmarks}; there are models for 5 and for 68"


@dataclass(frozen=True)
class ImageLimits(Section):
    """What an image may measure; checked in its header, before its pixels are decoded."""

    max_pixels: int = _whole("max_pixels", 120_000_000, 1, 1_000_000_000, "the most pixels of an image")
    max_side: int = _whole("max_side", 60_000, 1, 1_000_000, "the longest side of an image in pixels")


@dataclass(frozen=True)
class Ports(Section):
    """Where a daemon listens."""

    images: int = _whole("server_port_image_handle", 5000, 1, 65535, "the TCP port for images", required=True)
    discovery: int = _whole(
        "server_port_ip_disc", 5001, 1, 65535, "the UDP port for finding servers", required=True
    )
    pairing: int = _whole(
        "server_port_pairing", 5002, 1, 65535, "the port, TCP and UDP, for giving a key to another machine"
    )
    client_return: int = _whole(
        "client_return_port", 0, 0, 65535, "of no effect: the original's files hold it"
    )


@dataclass(frozen=True)
class Timeouts(Section):
    """Seconds."""

    connect: float = _number("connect_timeout", 5.0, 0.1, 86400, "seconds to reach a server", required=True)
    read: float = _number(
        "read_timeout", 60.0, 0.1, 86400, "seconds to wait for a silent peer", required=True
    )
    handshake: float = _number("handshake_timeout", 10.0, 0.1, 86400, "seconds for hello and welcome")
    frame: float = _number("frame_timeout", 60.0, 0.1, 86400, "seconds from a frame's first byte to its last")
    slow: float = _number(
        "slow_timeout", 10.0, 0.1, 86400, "seconds in which min_bytes_per_second have to come on average"
    )
    idle: float = _number("idle_timeout", 600.0, 0.1, 86400, "seconds a client may say nothing at all")
    image: float = _number("image_timeout", 120.0, 0.1, 86400, "seconds for one image in the executor")
    drain: float = _number(
        "drain_timeout", 150.0, 0.1, 86400, "seconds to finish what is in flight at a stop"
    )


@dataclass(frozen=True)
class DaemonParameters(Section):
    """What a daemon takes on."""

    max_frame_bytes: int = _whole("max_frame_bytes", 128 << 20, 1024, (1 << 31) - 1, "the largest message")
    max_connections: int = _whole("max_connections", 64, 1, 10_000, "clients at a time")
    max_connections_per_address: int = _whole(
        "max_connections_per_address", 16, 1, 10_000, "clients at a time from one address"
    )
    max_bytes_in_flight: int = _whole(
        "max_bytes_in_flight", 512 << 20, 1024, 1 << 40, "bytes of images without an answer, of all clients"
    )
    max_bytes_per_connection: int = _whole(
        "max_bytes_per_connection",
        128 << 20,
        1024,
        1 << 40,
        "bytes of images without an answer, of one client",
    )
    min_bytes_per_second: int = _whole(
        "min_bytes_per_second", 16 << 10, 0, 1 << 30, "the slowest that a message may come"
    )
    credits: int = _whole("credits", 4, 1, 64, "images a client may have in flight on one connection")
    queue: int = _whole("queue", 64, 1, 10_000, "images that wait; one more is answered as busy")
    decoding_threads: int = _whole("decoding_threads", 2, 1, 16, "images decoded at a time")
    engine_threads: int = _whole(
        "engine_threads", 0, 0, 1024, "threads of the engine on a CPU; 0: one a core"
    )

    @property
    def images_ahead(self) -> int:
        """Images that the worker holds at a time: one in the engine, one for each decoding thread."""
        return 1 + self.decoding_threads


@dataclass(frozen=True)
class BeaconParameters(Section):
    """How a daemon makes itself known. No interfaces: every one. No name: the host's."""

    interval: float = _number("interval", 5.0, 0.1, 3600, "seconds between announcements")
    interfaces: tuple[str, ...] = field(
        default=(), metadata={_VALUE: Interfaces("interfaces", "where it announces itself", False, 64)}
    )
    name: str = field(default="", metadata={_VALUE: Text("name", "what people call this server", False, 64)})


@dataclass(frozen=True)
class SecurityParameters(Section):
    """Who may use a daemon, and which daemons a client sends its images to."""

    authentication: str = field(
        default="key",
        metadata={
            _VALUE: Choice(
                "authentication", "how clients and daemons know each other", False, ("key", "none")
            )
        },
    )

    @property
    def keyed(self) -> bool:
        """Whether both ends prove a key, and speak TLS."""
        return self.authentication == "key"


@dataclass(frozen=True)
class _SectionOf:
    """How one section stands in the file."""

    name: str
    kind: type[Section]
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Everything parameters.xml sets. Made by `parse` and `load`, which check every value.

    Attributes:
        xml: the text it was parsed from: another process that parses it has the same parameters.
        source: where that text comes from, for people.
    """

    xml: bytes = field(repr=False, compare=False)
    source: str = field(compare=False)
    detection: DetectionParameters = field(
        metadata={_VALUE: _SectionOf("tiled_detect_params", DetectionParameters, True)}
    )
    fusion: FusionParameters = field(metadata={_VALUE: _SectionOf("fusion", FusionParameters)})
    encoding: EncodingParameters = field(metadata={_VALUE: _SectionOf("encoding", EncodingParameters)})
    images: ImageLimits = field(metadata={_VALUE: _SectionOf("images", ImageLimits)})
    ports: Ports = field(metadata={_VALUE: _SectionOf("ports", Ports, True)})
    timeouts: Timeouts = field(metadata={_VALUE: _SectionOf("timeout", Timeouts, True)})
    daemon: DaemonParameters = field(metadata={_VALUE: _SectionOf("daemon", DaemonParameters)})
    beacon: BeaconParameters = field(metadata={_VALUE: _SectionOf("beacon", BeaconParameters)})
    security: SecurityParameters = field(metadata={_VALUE: _SectionOf("security", SecurityParameters)})


# reading it


def parse(xml: bytes, *, source: str = FILE_NAME) -> Parameters:
    """Returns the parameters that a parameters.xml holds; what is optional and absent has its default.

    Args:
        xml: the file's bytes, UTF-8.
        source: its name in error messages.

    Raises:
        ParametersError: one line naming the file, the element, its value and what is allowed.
    """
    reader = _Reader(source)
    root = reader.tree(xml)
    found = reader.children(root, _ROOT, [item for _, item in _described(Parameters)])
    sections = {name: reader.section(found.get(item.name), item) for name, item in _described(Parameters)}
    return Parameters(xml=xml, source=source, **sections)


def load(path: str | os.PathLike[str] | None = None) -> Parameters:
    """Returns the parameters of the first of these files that is there.

    1. `path`, or else the file that $PYRAFACE_PARAMETERS names: a file that is named must be there.
    2. pyraface/parameters.xml in $XDG_CONFIG_HOME, or in ~/.config.
    3. /etc/pyraface/parameters.xml.
    4. The packaged file.

    Raises:
        ParametersError: a file that is named is missing, or the first one there cannot be read or is wrong.
    """
    named = os.fspath(path) if path is not None else os.environ.get(ENVIRONMENT)
    if named:
        return parse(_read(named), source=named)
    if path is not None:
        raise ParametersError("the name of the parameters file is empty")
    for place in _usual_places():
        # a link that leads nowhere is there too: whoever laid it should hear of it
        if os.path.lexists(place):
            return parse(_read(place), source=place)
    packaged = resources.files("pyraface").joinpath(FILE_NAME)
    try:
        return parse(packaged.read_bytes(), source=str(packaged))
    except OSError as error:
        raise ParametersError(f"{packaged}: the packaged file cannot be read: {_reason(error)}") from error


def user_folder() -> str | None:
    """Returns the folder with this user's own files: pyraface in $XDG_CONFIG_HOME or ~/.config. None: no home."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(home):  # the XDG specification: a relative one is to be ignored
        home = os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(home, "pyraface") if os.path.isabs(home) else None  # without a home "~" is left


def _usual_places() -> Iterable[str]:
    folder = user_folder()
    if folder is not None:
        yield os.path.join(folder, FILE_NAME)
    yield f"/etc/pyraface/{FILE_NAME}"


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ParametersError(f"{one_line(path, 4096)}: cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _described(kind: type[Any]) -> list[tuple[str, Any]]:
    """Returns (Python name, what it is in the file) of each field of a dataclass that stands in the file."""
    return [(item.name, item.metadata[_VALUE]) for item in fields(kind) if _VALUE in item.metadata]


class _Reader:
    """Turns elements into values. `source` is in every error."""

    def __init__(self, source: str) -> None:
        self.source = one_line(source, 4096)

    def error(self, path: str, problem: str) -> ParametersError:
        return ParametersError(f"{self.source}: {path} {problem}" if path else f"{self.source}: {problem}")

    def tree(self, xml: bytes) -> Element:
        if len(xml) > MAX_FILE_BYTES:
            raise self.error("", f"is larger than {MAX_FILE_BYTES} bytes: this is no parameters file")
        if not xml.strip():
            raise self.error("", f"is empty; it must hold <{_ROOT}>")
        try:
            # given text, the parser ignores what the file claims to be encoded in
            root: Element = fromstring(xml.decode("utf-8"), forbid_dtd=True)
        except UnicodeDecodeError as error:
            raise self.error("", f"is not UTF-8: byte {xml[error.start]:#04x} at {error.start}") from error
        except DefusedXmlException as error:
            raise self.error("", "holds a document type or entities (<!DOCTYPE>): not allowed") from error
        except ParseError as error:
            raise self.error("", f"is not XML: {one_line(str(error), 100)}") from error
        if root.tag != _ROOT:
            raise self.error(
                "", f"begins with <{one_line(root.tag, _SHOWN_CHARACTERS)}>; it must be <{_ROOT}>"
            )
        return root

    def children(self, parent: Element, path: str, known: Sequence[Value | _SectionOf]) -> dict[str, Element]:
        """Returns the elements in `parent` by name: each known, each there once, and nothing else there."""
        names = {item.name for item in known}
        found: dict[str, Element] = {}
        for child in parent:
            if child.tag not in names:
                raise self.error(
                    path,
                    f"holds <{one_line(child.tag, _SHOWN_CHARACTERS)}>, which is unknown{_hint(child.tag, names)}",
                )
            if child.tag in found:
                raise self.error(f"{path}/{child.tag}", "is there twice; once is allowed")
            found[child.tag] = child
        stray = "".join([parent.text or "", *(child.tail or "" for child in parent)]).strip()
        if stray:
            raise self.error(
                path, f"holds the text '{one_line(stray, _SHOWN_CHARACTERS)}' outside of its elements"
            )
        for item in known:
            if item.required and item.name not in found:
                rule = f": {item.meaning}, {item.allowed}" if isinstance(item, Value) else ""
                raise self.error(f"{path}/{item.name}", f"is missing{rule}")
        return found

    def section(self, element: Element | None, item: _SectionOf) -> Any:
        if element is None:
            return item.kind()
        path = f"{_ROOT}/{item.name}"
        described = _described(item.kind)
        found = self.children(element, path, [value for _, value in described])
        values = {
            name: self.value(found[value.name], f"{path}/{value.name}", value)
            for name, value in described
            if value.name in found
        }
        section = item.kind(**values)
        problem = section.problem()
        if problem:
            raise self.error(path, problem)
        return section

    def value(self, element: Element, path: str, value: Value) -> Any:
        if len(element):
            raise self.error(
                path, f"holds <{one_line(element[0].tag, _SHOWN_CHARACTERS)}>; it must be {value.allowed}"
            )
        text = (element.text or "").strip()
        try:
            return value.read(text)
        except ValueError as error:
            raise self.error(
                path, f"is '{one_line(text, _SHOWN_CHARACTERS)}'; it must be {value.allowed}"
            ) from error


def _hint(unknown: str, names: set[str]) -> str:
    """Returns where an unknown element belongs, or the known one that it is nearest to."""
    for _, section in _described(Parameters):
        if unknown in {value.name for _, value in _described(section.kind)}:
            return f" here: it belongs in {_ROOT}/{section.name}"
    near = difflib.get_close_matches(unknown[:100].lower(), sorted(names), 1)
    return f": did you mean <{near[0]}>?" if near else f"; allowed are {', '.join(sorted(names))}"

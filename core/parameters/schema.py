"""Schema: the sections and elements of parameters.xml, and the frozen values they become.

Each element stands in one place: a field below has its name, its default, its bounds and its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args

from .values import Choice, Flag, Interfaces, Number, Text, Whole

MAX_TILE_PIXELS = 100_000_000
"""The detector's first layer alone takes 90 bytes a pixel: dlib's pyramid holds 3.3 pixels for each one, as 3 floats
going in and 16 / 4 coming out. So 9 GB here, and several times that with what the layers need to work."""
MAX_UPSAMPLE, MAX_LEVELS = 4, 5
"""A picture zoomed beyond 16 times shows nothing new; the fifth level has 256 tiles."""

SearchName = Literal["everywhere", "guided", "most"]
"""The ways of searching an image (`core.search`)."""

SEARCHES: tuple[SearchName, ...] = get_args(SearchName)

AUTOMATIC: SearchName = "guided"
"""The search that `auto` stands for, where it can run; elsewhere, everywhere is searched."""

REMOVED = {"adaptive": "<search>guided</search> takes its place"}
"""Elements of earlier versions, and what to set instead."""

_VALUE = "value"
_Option = TypeVar("_Option", int, str)


def described(kind: type[Any]) -> list[tuple[str, Any]]:
    """Returns (Python name, its Value or SectionOf) of each field of a section, or of Parameters, that is in the file."""
    return [(item.name, item.metadata[_VALUE]) for item in fields(kind) if _VALUE in item.metadata]


def _whole(name: str, default: int, low: int, high: int, meaning: str, *, required: bool = False) -> int:
    return field(default=default, metadata={_VALUE: Whole(name, meaning, required, low, high)})


def _number(
    name: str, default: float, low: float, high: float, meaning: str, *, required: bool = False
) -> float:
    return field(default=default, metadata={_VALUE: Number(name, meaning, required, low, high)})


def _flag(name: str, default: bool, meaning: str) -> bool:
    return field(default=default, metadata={_VALUE: Flag(name, meaning, False)})


def _choice(name: str, default: _Option, options: tuple[_Option, ...], meaning: str) -> _Option:
    return field(default=default, metadata={_VALUE: Choice(name, meaning, False, options)})


@dataclass(frozen=True)
class Section:
    """The values of one element of <params>."""

    def problem(self) -> str | None:
        """Returns why these values do not go together, None where they do."""
        return None

    def as_text(self) -> str:
        """Returns the values on one line, for a fingerprint; a flag is 0 or 1, as in the file."""
        values = ((item.name, getattr(self, item.name)) for item in fields(self))
        texts = (f"{name}={int(value) if isinstance(value, bool) else value!r}" for name, value in values)
        return f"{type(self).__name__}({', '.join(texts)})"


@dataclass(frozen=True)
class DetectionParameters(Section):
    """The pyramid. A tile is zoomed by 2^upsample at most, and to `tile_pixels` at most."""

    height: int = _whole("height", 600, 16, 20000, "a tile's height in pixels", required=True)
    width: int = _whole("width", 400, 16, 20000, "a tile's width in pixels", required=True)
    upsample: int = _whole(
        "upsample", 2, 0, MAX_UPSAMPLE, "the number of times a tile may double in size", required=True
    )
    levels: int = _whole(
        "levels", 2, 1, MAX_LEVELS, "levels of the pyramid: the whole, its quadrants, and so on"
    )
    most_tiles: int = _whole(
        "most_tiles", 85, 1, 341, "the most tiles of an image whose client asks for smaller faces"
    )
    threshold: float = _number("threshold", 0.0, -1, 2, "the confidence that a face must exceed")
    reduced_decoding: bool = _flag(
        "reduced_decoding", False, "1: a JPEG is decoded no larger than its levels need; 0: at full size"
    )
    screening: bool = _flag(
        "screening", True, "1: float32 only where 8-bit integers leave room for a face; 0: everywhere"
    )
    search: str = _choice("search", "auto", ("auto", *SEARCHES), "the places that are searched")
    guided_threshold: float = _number(
        "guided_threshold", -0.7, -1, 2, "the confidence that a face must exceed in a guided search"
    )

    def as_text(self) -> str:
        """Returns the values of a search that is named: what `auto` is follows from more than the parameters."""
        text = super().as_text()
        if self.search != "everywhere":
            return text
        # the parameters of the other searches have no influence on the results of this one
        return text.partition(", search=")[0] + ")"

    @property
    def tile_pixels(self) -> int:
        """The most pixels of one tile after zooming; of height and width, only the product counts."""
        return int(self.height * self.width * 4**self.upsample)

    def problem(self) -> str | None:
        if self.tile_pixels <= MAX_TILE_PIXELS:
            return None
        product = f"height {self.height} * width {self.width} * 4^upsample {self.upsample}"
        return (
            f"asks for tiles of {self.tile_pixels / 1e6:.1f} Mpx ({product}); "
            f"at most {MAX_TILE_PIXELS / 1e6:.0f} Mpx is allowed: lower one of the three"
        )


def search_named(name: str) -> SearchName:
    """Returns the search of this name.

    Raises:
        ValueError: there is none.
    """
    for search in SEARCHES:
        if search == name:
            return search
    raise ValueError(f"search must be one of {', '.join(SEARCHES)}, not {name!r}")


@dataclass(frozen=True)
class FusionParameters(Section):
    """The conditions under which two boxes are one face."""

    same_overlap: float = _number(
        "same_overlap", 0.5, 0, 1, "boxes with at least this intersection over union are one face"
    )
    doubtful_overlap: float = _number(
        "doubtful_overlap", 0.4, 0, 1, "boxes with less than this intersection over union are two faces"
    )
    encoding_distance: float = _number(
        "encoding_distance",
        0.5,
        0,
        2,
        "boxes in between are one face if their encodings are closer than this",
    )

    def problem(self) -> str | None:
        if self.doubtful_overlap <= self.same_overlap:
            return None
        return (
            f"has doubtful_overlap {self.doubtful_overlap:g} above same_overlap {self.same_overlap:g}; "
            "lower doubtful_overlap or raise same_overlap"
        )


@dataclass(frozen=True)
class EncodingParameters(Section):
    """The way a face is encoded, and the least quality of a face whose encoding is comparable.

    jitters and landmarks are face_recognition's; docs/accuracy.md has the figures that chose the others.
    """

    jitters: int = _whole(
        "jitters",
        1,
        1,
        100,
        "random variations of a face over which its encoding is averaged",
    )
    landmarks: int = _choice("landmarks", 5, (5, 68), "the number of points that align a face")
    least_size: int = _whole(
        "least_size", 25, 0, 1000, "the least size in pixels of a face whose encoding is comparable"
    )
    least_sharpness: float = _number(
        "least_sharpness", 0.35, 0, 1, "the least sharpness of a face whose encoding is comparable"
    )
    least_inside: float = _number(
        "least_inside",
        0.7,
        0,
        1,
        "the least share of a face's box inside the image, of a face whose encoding is comparable",
    )
    least_confidence: float = _number(
        "least_confidence",
        0.6,
        -1,
        2,
        "the detector's least confidence in a face whose encoding is comparable",
    )


@dataclass(frozen=True)
class ImageLimits(Section):
    """The largest image that is decoded; checked in the file's header, before any pixel is decoded."""

    max_pixels: int = _whole("max_pixels", 200_000_000, 1, 1_000_000_000, "the most pixels of an image")
    max_side: int = _whole("max_side", 60_000, 1, 1_000_000, "the longest side of an image in pixels")


@dataclass(frozen=True)
class Ports(Section):
    """The ports of a daemon."""

    images: int = _whole("server_port_image_handle", 5000, 1, 65535, "the TCP port for images", required=True)
    discovery: int = _whole(
        "server_port_ip_disc", 5001, 1, 65535, "the UDP port for finding servers", required=True
    )
    pairing: int = _whole(
        "server_port_pairing", 5002, 1, 65535, "the port, TCP and UDP, for giving a key to another machine"
    )
    client_return: int = _whole(
        "client_return_port", 0, 0, 65535, "without effect: parameters files of the original program have it"
    )


@dataclass(frozen=True)
class Timeouts(Section):
    """Seconds."""

    connect: float = _number("connect_timeout", 5.0, 0.1, 86400, "seconds to reach a server", required=True)
    read: float = _number(
        "read_timeout", 60.0, 0.1, 86400, "seconds to wait for a silent peer", required=True
    )
    handshake: float = _number("handshake_timeout", 10.0, 0.1, 86400, "seconds for a handshake")
    frame: float = _number(
        "frame_timeout", 180.0, 0.1, 86400, "seconds from the first byte of a frame to its last"
    )
    slow: float = _number(
        "slow_timeout", 10.0, 0.1, 86400, "seconds over which min_bytes_per_second is averaged"
    )
    idle: float = _number("idle_timeout", 600.0, 0.1, 86400, "seconds a client may stay silent")
    image: float = _number("image_timeout", 120.0, 0.1, 86400, "seconds for one image in the executor")
    drain: float = _number(
        "drain_timeout", 150.0, 0.1, 86400, "seconds to finish the images in flight when the daemon stops"
    )


@dataclass(frozen=True)
class DaemonParameters(Section):
    """The limits of a daemon."""

    max_frame_bytes: int = _whole("max_frame_bytes", 384 << 20, 1024, (1 << 31) - 1, "the largest message")
    max_connections: int = _whole("max_connections", 64, 1, 10_000, "connected clients")
    max_connections_per_address: int = _whole(
        "max_connections_per_address", 16, 1, 10_000, "connected clients from one address"
    )
    max_bytes_in_flight: int = _whole(
        "max_bytes_in_flight", 512 << 20, 1024, 1 << 40, "bytes of images in flight, of all clients"
    )
    max_bytes_per_connection: int = _whole(
        "max_bytes_per_connection",
        128 << 20,
        1024,
        1 << 40,
        "bytes of images in flight, of one client",
    )
    min_bytes_per_second: int = _whole(
        "min_bytes_per_second", 16 << 10, 0, 1 << 30, "the lowest rate at which a message may arrive"
    )
    credits: int = _whole("credits", 4, 1, 64, "images in flight on one connection")
    queue: int = _whole("queue", 64, 1, 10_000, "waiting images; the next one is refused as busy")
    decoding_threads: int = _whole("decoding_threads", 2, 1, 16, "images decoded at the same time")
    engine_threads: int = _whole(
        "engine_threads", 0, 0, 1024, "threads of the engine on a CPU; 0: one for each core"
    )

    @property
    def images_ahead(self) -> int:
        """Images that the worker holds at a time: one in the engine, one for each decoding thread."""
        return 1 + self.decoding_threads


@dataclass(frozen=True)
class BeaconParameters(Section):
    """The announcements of a daemon. No interfaces: on all of them. No name: the host's name."""

    interval: float = _number("interval", 5.0, 0.1, 3600, "seconds between announcements")
    interfaces: tuple[str, ...] = field(
        default=(),
        metadata={_VALUE: Interfaces("interfaces", "the network interfaces of the announcements", False, 64)},
    )
    name: str = field(
        default="", metadata={_VALUE: Text("name", "the name of this server, for people", False, 64)}
    )


@dataclass(frozen=True)
class SecurityParameters(Section):
    """The clients that may use a daemon, and the daemons to which a client sends images."""

    authentication: str = _choice(
        "authentication", "key", ("key", "none"), "the way clients and daemons know each other"
    )

    @property
    def keyed(self) -> bool:
        """Whether both ends prove that they have the same key, and speak TLS."""
        return self.authentication == "key"


@dataclass(frozen=True)
class SectionOf:
    """A section in the file: its element's name, its class, and whether the file must hold it."""

    name: str
    kind: type[Section]
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """All settings of a parameters.xml. Made by `parse` and `load`, which check every value.

    Attributes:
        source: the file that they come from, for people.
        stated: the elements that this file states, as SECTION/ELEMENT; the others, and all of the packaged file, have their
            defaults.
    """

    source: str = field(compare=False)
    stated: frozenset[str] = field(repr=False, compare=False)
    detection: DetectionParameters = field(
        metadata={_VALUE: SectionOf("tiled_detect_params", DetectionParameters, True)}
    )
    fusion: FusionParameters = field(metadata={_VALUE: SectionOf("fusion", FusionParameters)})
    encoding: EncodingParameters = field(metadata={_VALUE: SectionOf("encoding", EncodingParameters)})
    images: ImageLimits = field(metadata={_VALUE: SectionOf("images", ImageLimits)})
    ports: Ports = field(metadata={_VALUE: SectionOf("ports", Ports, True)})
    timeouts: Timeouts = field(metadata={_VALUE: SectionOf("timeout", Timeouts, True)})
    daemon: DaemonParameters = field(metadata={_VALUE: SectionOf("daemon", DaemonParameters)})
    beacon: BeaconParameters = field(metadata={_VALUE: SectionOf("beacon", BeaconParameters)})
    security: SecurityParameters = field(metadata={_VALUE: SectionOf("security", SecurityParameters)})

    @classmethod
    def defaults(cls) -> Parameters:
        """Returns the parameters of a file that states none."""
        sections = {name: item.kind() for name, item in described(cls)}
        return cls(source="", stated=frozenset(), **sections)

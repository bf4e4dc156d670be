"""Time estimate: how long servers need for photographs, from the speed at which they did others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..core.text import plural
from .console import number_formats


@dataclass
class Work:
    """Photographs to process.

    Attributes:
        pixels: of those whose size is known.
        unknown: number of those whose size is not known.
    """

    photographs: int = 0
    pixels: int = 0
    unknown: int = 0

    def add(self, pixels: int | None) -> None:
        """Adds a photograph of so many pixels; None: its size is not known."""
        self.photographs += 1
        self.pixels += pixels or 0
        self.unknown += pixels is None

    @property
    def megapixels(self) -> float | None:
        """Megapixels in all, where those of unknown size are as large as the others on average; None: no size is known."""
        measured = self.photographs - self.unknown
        if not self.photographs:
            return 0.0
        return self.pixels / 1e6 * self.photographs / measured if measured else None

    def __str__(self) -> str:
        if not self.photographs:
            return "0"
        size = f"{self.pixels / 1e6:.0f}" if self.pixels >= 10_000_000 else f"{self.pixels / 1e6:.2g}"
        unknown = f" and {plural(self.unknown, 'photograph')} of unknown size" if self.unknown else ""
        return f"{self.photographs}, {size} megapixels{unknown}"


def estimate(work: Work, speeds: Mapping[str, float]) -> str:
    """Returns how long the work takes, and what that is estimated from.

    Args:
        speeds: megapixels per second of each server, by its name; 0: it has not processed an image yet.
    """
    if not work.photographs:
        return "no photograph to process"
    known = [name for name, speed in speeds.items() if speed > 0]
    unknown = [name for name, speed in speeds.items() if not speed > 0]
    if not speeds:
        return "unknown, because no server answers"
    if not known:
        return (
            f"unknown, because {_listed(unknown)} processed no image before; it can be estimated once some images are in "
            "the same --output"
        )
    megapixels, together = work.megapixels, sum(speeds[name] for name in known)
    if megapixels is None:
        return "unknown, because no header says the size of its photograph"
    faster = f"; less with {_listed(unknown)}, which processed no image before" if unknown else ""
    return (
        f"about {number_formats.duration(megapixels / together)}, at {number_formats.rate(together)} megapixels/s: the "
        f"speed of the last images of {_listed(known)}{faster}"
    )


def _listed(names: list[str]) -> str:
    return " and ".join([*filter(None, [", ".join(names[:-1])]), names[-1]])

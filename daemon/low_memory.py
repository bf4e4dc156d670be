"""Low memory: too little of it for the worker, how it is noticed, and what is done: the worker becomes frugal.

A frugal worker has one image at a time, and prepares nothing ahead; it finds the same faces, more slowly. It is frugal from
the start where the memory is too little for more; until certain images are done, if it was killed while it had them; and for
good, if that happens often. A single panorama thus does not slow down an archive of small photographs.
"""

from __future__ import annotations

import logging
import signal
from collections import deque

from ..core.host.memory import Memory, mebibytes
from ..core.parameters import DetectionParameters

log = logging.getLogger("pyraface.executor")

IDLE = 260 << 20
"""Bytes of a worker that is ready (`python -m benchmarks.footprint`, as all figures here)."""

TILE_EVERYWHERE, TILE_EVERYWHERE_FRUGAL, TILE_GUIDED = 90, 45, 25
"""Bytes for each pixel of a tile, 3.84 million by default, that a search takes: everywhere, with the next tile prepared or
without; and guided, most of whose memory is YuNet's."""

PICTURES = 240 << 20
"""Bytes of the pictures of a worker that is not frugal: JPEGs of 40 Mpx, one searched and the next decoded."""

OFTEN, PERIOD = 3, 3600.0
"""The worker stays frugal if it had to become so this many times in so many seconds."""

REMEDY = (
    "raise the limit (docker run --memory, MemoryMax of a systemd unit), or lower params/tiled_detect_params/upsample by "
    "one, for a quarter of the memory of a tile"
)


class Scarcity:
    """Decides whether the worker is frugal, and says why memory is too little.

    Args:
        memory: of this process and the worker.
        detection: the parameters that determine what a search takes.

    Attributes:
        frugal: whether the next worker is.
        for_good: whether it stays so.
    """

    def __init__(self, memory: Memory, detection: DetectionParameters) -> None:
        self._memory = memory
        self._detection = detection
        self._kills = memory.kills()
        self._lowered: deque[float] = deque()
        self.frugal = self.for_good = False
        wanted = IDLE + self._needed() + PICTURES
        if (available := memory.available()) < wanted:
            self._stay_frugal(
                f"{mebibytes(available)} of memory are left, of {memory.limit()}; a worker may take {mebibytes(wanted)}"
            )

    def bytes_in_flight(self, wanted: int) -> int:
        """Returns how many bytes of images all connections together may hold: a quarter of a scarce memory at most."""
        return min(wanted, self._memory.limit().bytes // 4) if self.for_good else wanted

    def watch(self) -> None:
        """Begins to watch for a worker that is killed: a kill before this was another process's."""
        self._kills = self._memory.kills()

    def killed(self, status: int) -> bool:
        """Returns whether a worker with this exit status was killed for want of memory."""
        return status == -signal.SIGKILL and self._memory.kills() != self._kills

    def lower(self, now: float) -> None:
        """Makes the next worker frugal, because this one had too little memory for images."""
        self.frugal = True
        if self.for_good:
            return
        self._lowered.append(now)
        while self._lowered[0] <= now - PERIOD:
            self._lowered.popleft()
        if len(self._lowered) >= OFTEN:
            self._stay_frugal(f"the worker ran out of memory {OFTEN} times in an hour")

    def start_failed(self) -> None:
        """Makes every worker frugal, because this one did not even become ready."""
        if not self.for_good:
            self._stay_frugal("the worker ran out of memory during its start")

    def over(self) -> None:
        """The images for which the worker had become frugal are done."""
        self.frugal = self.for_good

    def reason(self) -> str:
        """Returns why memory is too little, and the remedy."""
        return f"there are {self._memory.limit()}; {self._takes()}; {REMEDY}"

    def reason_for_image(self) -> str:
        """Returns why the memory is too little for an image, and the remedy."""
        return (
            f"too little memory for this image: there are {self._memory.limit()}; {self._takes()}, and 3 to 20 bytes for "
            f"each pixel of the image; {REMEDY}"
        )

    def _takes(self) -> str:
        tile = mebibytes(self._needed())
        return f"the worker takes {mebibytes(IDLE)}, {tile} for a tile of {self._detection.tile_pixels / 1e6:.2f} Mpx"

    def _needed(self) -> int:
        everywhere = TILE_EVERYWHERE_FRUGAL if self.frugal else TILE_EVERYWHERE
        a_pixel = everywhere if self._detection.search == "everywhere" else TILE_GUIDED
        return a_pixel * self._detection.tile_pixels

    def _stay_frugal(self, reason: str) -> None:
        self.frugal = self.for_good = True
        log.warning(
            "%s: from now on the worker has one image at a time and prepares nothing ahead; it finds the same faces, "
            "more slowly",
            reason,
        )

"""pyraface finds and encodes every face in large photo archives, on the machines you already own.

    detect_faces, map_faces     faces of one image and of many, through daemons on this machine or others
    encode_faces                the encodings of faces in given boxes
    Client                      the same for asyncio
    Pipeline                    in this process, without a server
    distance, compare, iou      what the faces found have to do with each other

docs/library.md shows them. The names are imported when they are first used.
"""

from typing import TYPE_CHECKING

from .core.lazy import names_of

if TYPE_CHECKING:
    from .client._public import *  # noqa: F403
    from .core._public import *  # noqa: F403
else:
    __getattr__, __dir__ = names_of(__name__, ".client._public", ".core._public")

__version__ = "0.1.0"

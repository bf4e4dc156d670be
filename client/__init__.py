"""The client: a directory of photographs, or one image, through any number of servers.

async with Client("auto") as client:
    result = await client.detect("photo.jpg")
    async for result in client.map(paths):
        ...

faces = detect_faces("photo.jpg").faces     # a script without asyncio
for result in map_faces(paths):
    ...

The names are imported when they are first used: `pyraface --help` should not have to wait for numpy.
"""

from typing import TYPE_CHECKING

from ..core.lazy import names_of

if TYPE_CHECKING:
    from ._public import *  # noqa: F403
else:
    __getattr__, __dir__ = names_of(__name__, "._public")

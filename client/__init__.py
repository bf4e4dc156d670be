"""The client: a directory of photographs, or one image, through any number of servers.

async with Client("auto") as client:
    result = await client.detect("photo.jpg")
    async for result in client.map(paths):
        ...

faces = detect_faces("photo.jpg").faces     # a script without asyncio
"""

from ..core.errors import DetectionFailed, ErrorCode, ParametersError, PyrafaceError, ServerError
from ..core.faces import Faces
from .api import Client, detect_faces
from .results import Result

__all__ = [
    "Client",
    "DetectionFailed",
    "ErrorCode",
    "Faces",
    "ParametersError",
    "PyrafaceError",
    "Result",
    "ServerError",
    "detect_faces",
]

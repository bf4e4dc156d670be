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

if TYPE_CHECKING:
    from ..core.errors import (
        DetectionError,
        ErrorCode,
        KeyFileError,
        ParametersError,
        PyrafaceError,
        ServerError,
    )
    from ..core.faces import Faces
    from ..core.results import Result
    from .api import Client
    from .blocking import detect_faces, map_faces
    from .pool.status import Availability, ServerStatus

__all__ = [
    "Availability",
    "Client",
    "DetectionError",
    "ErrorCode",
    "Faces",
    "KeyFileError",
    "ParametersError",
    "PyrafaceError",
    "Result",
    "ServerError",
    "ServerStatus",
    "detect_faces",
    "map_faces",
]

_MODULES = {
    "..core.errors": (
        "DetectionError",
        "ErrorCode",
        "KeyFileError",
        "ParametersError",
        "PyrafaceError",
        "ServerError",
    ),
    "..core.faces": ("Faces",),
    ".api": ("Client",),
    ".blocking": ("detect_faces", "map_faces"),
    "..core.results": ("Result",),
    ".pool.status": ("ServerStatus", "Availability"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    for module, names in _MODULES.items():
        if name in names:
            value: object = getattr(import_module(module, __name__), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

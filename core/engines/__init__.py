"""Registry of the engines: the implementations of face_recognition's two networks, by name.

A new engine is a module with a class that keeps the `Engine` Protocol, and a line in `_ENGINES`.
"""

from __future__ import annotations

from importlib import import_module
from typing import get_args

from ..errors import EngineError
from .base import Engine, EngineName, EngineOptions, Pixels, Proposals, Proposer, Tile
from .detections import Detections

__all__ = [
    "NAMES",
    "Detections",
    "Engine",
    "EngineName",
    "EngineOptions",
    "Pixels",
    "Proposals",
    "Proposer",
    "Tile",
    "start",
]

_ENGINES = {
    "onnx": ".onnx.engine:OnnxEngine",
    "dlib": ".dlib:DlibEngine",
}
"""The module and the class of each engine. It is imported when the engine is started: its libraries are large, and may be
missing."""

NAMES: tuple[EngineName, ...] = get_args(EngineName)


def start(name: EngineName, options: EngineOptions | None = None) -> Engine:
    """Returns a ready engine, its models loaded.

    Args:
        name: an engine of the registry, or `auto`: dlib where it was built with CUDA and finds a GPU, otherwise onnx.
        options: None: the defaults.

    Raises:
        EngineError: the engine's library, its weights or its device are missing; the message says what to install.
    """
    chosen = _automatic() if name == "auto" else name
    if chosen not in _ENGINES:
        raise EngineError(f"unknown engine {name!r}; the engines are {', '.join(NAMES)}")
    module, _, kind = _ENGINES[chosen].partition(":")
    engine: Engine = getattr(import_module(module, __name__), kind)(options or EngineOptions())
    return engine


def _automatic() -> EngineName:
    from .dlib import has_gpu

    return "dlib" if has_gpu() else "onnx"

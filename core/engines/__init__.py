"""What finds and encodes faces in pixels: the same two networks behind one Protocol.

`start("auto")` is the way in.
"""

from __future__ import annotations

from ..errors import EngineError
from .base import DEFAULT_TILE_PIXELS, Detections, Engine, EngineName, Pixels, Tile

__all__ = ["DEFAULT_TILE_PIXELS", "Detections", "Engine", "EngineName", "Pixels", "Tile", "start"]


def start(
    name: EngineName,
    *,
    threads: int = 0,
    threshold: float = 0.0,
    hints: float | None = None,
    screened: bool = True,
    tile_pixels: int = DEFAULT_TILE_PIXELS,
    jitters: int = 1,
    landmarks: int = 5,
) -> Engine:
    """Returns a ready engine, its models loaded.

    `auto` is dlib where it was built with CUDA and a GPU is there, otherwise onnx.

    Args:
        threads: for the onnx engine on a CPU; 0 means one a core this process may use.
        threshold: the confidence that a face must exceed; face_recognition's is 0.
        hints: the score that hints must exceed; None: there are none.
        screened: for the onnx engine on a CPU: float32 only where 8-bit integers leave room for a face.
        tile_pixels: the most that a tile will have; for the onnx engine on TensorRT.
        jitters, landmarks: as in `EncodingParameters`.

    Raises:
        EngineError: the engine's library, its weights or its device are missing; the message says what to install.
    """
    if name == "auto":
        name = "dlib" if _dlib_has_a_gpu() else "onnx"
    if name == "dlib":
        from .dlib import DlibEngine

        return DlibEngine(threshold, jitters=jitters, landmarks=landmarks, hints=hints)
    if name == "onnx":
        from .onnx.engine import OnnxEngine

        return OnnxEngine(
            threads,
            threshold,
            hints=hints,
            screened=screened,
            tile_pixels=tile_pixels,
            jitters=jitters,
            landmarks=landmarks,
        )
    raise EngineError(f"no engine is named {name!r}: use auto, onnx or dlib")


def _dlib_has_a_gpu() -> bool:
    try:
        import dlib

        return bool(dlib.DLIB_USE_CUDA) and dlib.cuda.get_num_devices() > 0
    except (ImportError, RuntimeError):  # no dlib; built for CUDA, but without a driver that works
        return False

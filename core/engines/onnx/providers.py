"""Providers: the devices on which ONNX Runtime can run the networks, best first: TensorRT, CUDA, the CPU.

An available provider is one that ONNX Runtime was built with. Only its start shows whether its libraries, the driver and a
GPU are installed as well: the engine takes the first provider that starts and computes numbers.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .runtime import onnxruntime

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Provider:
    """One of ONNX Runtime's execution providers.

    kind: "tensorrt", "cuda" or "cpu", for `Engine.processor`.
    label: for people.
    execution_provider: ONNX Runtime's name.
    """

    kind: str
    label: str
    execution_provider: str

    @property
    def gpu(self) -> bool:
        return self.kind != "cpu"


TENSORRT = Provider("tensorrt", "TensorRT", "TensorrtExecutionProvider")
CUDA = Provider("cuda", "CUDA", "CUDAExecutionProvider")
CPU = Provider("cpu", "the CPU", "CPUExecutionProvider")


def best_first(available: Sequence[str]) -> list[Provider]:
    """Returns the providers to try, out of the available ones; the last is always the CPU."""
    return [one for one in (TENSORRT, CUDA) if one.execution_provider in available] + [CPU]


@dataclass(frozen=True)
class ShapeProfile:
    """The shapes of a network's only input that TensorRT plans for. TensorRT takes the memory of the largest."""

    name: str
    least: Shape
    usual: Shape
    most: Shape

    def options(self) -> dict[str, str]:
        """Returns the shapes as ONNX Runtime's options for TensorRT, such as `image:1x3x29x37`."""
        shapes = {"min": self.least, "opt": self.usual, "max": self.most}
        return {
            f"trt_profile_{which}_shapes": f"{self.name}:{'x'.join(map(str, shape))}"
            for which, shape in shapes.items()
        }

    def hold(self, shape: Shape) -> bool:
        """Returns whether the plan includes an input of this shape."""
        return len(shape) == len(self.least) and all(
            least <= side <= most for least, side, most in zip(self.least, shape, self.most, strict=True)
        )


class Planned:
    """A session of TensorRT, and one of CUDA for inputs of shapes outside of the plan. It runs like either."""

    def __init__(self, planned: Any, other: Any, shapes: ShapeProfile) -> None:
        self._planned = planned
        self._other = other
        self._shapes = shapes

    def run(self, outputs: list[str] | None, feeds: dict[str, NDArray[Any]]) -> Any:
        session = self._planned if self._shapes.hold(feeds[self._shapes.name].shape) else self._other
        return session.run(outputs, feeds)


def session_providers(provider: Provider, shapes: ShapeProfile | None) -> list[Any]:
    """Returns InferenceSession's argument `providers`: this one, then the ones that run the operators it lacks.

    Args:
        shapes: the input shapes that TensorRT plans for.
    """
    chain: list[Any] = [CPU.execution_provider]
    if provider.gpu:
        chain.insert(0, (CUDA.execution_provider, _cuda_options()))
    if shapes is not None and provider == TENSORRT:
        chain.insert(0, (TENSORRT.execution_provider, _tensorrt_options(shapes)))
    return chain


def find_libraries() -> None:
    """Loads the libraries of CUDA and cuDNN from NVIDIA's Python packages, which ONNX Runtime does not search by itself."""
    preload = getattr(onnxruntime, "preload_dlls", None)  # 1.21
    if preload is not None:
        # it prints each library that it does not find; ONNX Runtime may still find the library elsewhere
        with contextlib.redirect_stdout(io.StringIO()):
            preload()


def cache_folder() -> Path | None:
    """Returns the folder for TensorRT's plans, each of which takes minutes to make; None where it cannot be made or written.

    It lies in the cache folder of the systemd service, or of the user.
    """
    base = os.environ.get("CACHE_DIRECTORY") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    # another version of ONNX Runtime cannot use the plans
    folder = Path(base).expanduser() / "pyraface" / f"tensorrt-onnxruntime-{onnxruntime.__version__}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
        return None
    return folder if os.access(folder, os.W_OK) else None


def _tensorrt_options(shapes: ShapeProfile) -> dict[str, str]:
    # ONNX Runtime has an option against TF32 for CUDA, `use_tf32` below, but none for TensorRT
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    options = shapes.options()
    folder = cache_folder()
    if folder is not None:
        # With known shapes, plans are made and written while the session starts, before the sandbox closes.
        options |= {
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": str(folder),
        }
    return options


def _cuda_options() -> dict[str, str]:
    options = {
        # shapes change with every picture: trying all algorithms for each would take longer than it saves
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
    }
    if tuple(int(part) for part in onnxruntime.__version__.split(".")[:2]) >= (1, 18):
        # TF32 has 10 bits of mantissa, which would change results by more than all other differences between engines
        options["use_tf32"] = "0"
    return options

"""What ONNX Runtime can run the networks on, best first: TensorRT, CUDA, the CPU.

That a provider is there says only that ONNX Runtime was built with it. Whether its libraries, the driver and a GPU are
there, too, is seen when it starts: the engine takes the first that does, and that computes numbers.
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

    kind: "tensorrt", "cuda" or "cpu", for the fingerprint.
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
    """Returns the providers to try, of those that ONNX Runtime was built with; the CPU is always the last."""
    return [one for one in (TENSORRT, CUDA) if one.execution_provider in available] + [CPU]


@dataclass(frozen=True)
class ShapeProfile:
    """The shapes of a network's only input that TensorRT plans for; it uses the memory of the largest."""

    name: str
    least: Shape
    usual: Shape
    most: Shape

    def options(self) -> dict[str, str]:
        """As TensorRT's options in ONNX Runtime have them: `image:1x3x29x37`."""
        shapes = {"min": self.least, "opt": self.usual, "max": self.most}
        return {
            f"trt_profile_{which}_shapes": f"{self.name}:{'x'.join(map(str, shape))}"
            for which, shape in shapes.items()
        }

    def hold(self, shape: Shape) -> bool:
        """Whether an input of this shape is among them."""
        return len(shape) == len(self.least) and all(
            least <= side <= most for least, side, most in zip(self.least, shape, self.most, strict=True)
        )


class Planned:
    """A session of TensorRT; inputs of a shape that it has no plan for go to one of CUDA. Runs like either."""

    def __init__(self, planned: Any, other: Any, shapes: ShapeProfile) -> None:
        self._planned = planned
        self._other = other
        self._shapes = shapes

    def run(self, outputs: list[str] | None, feeds: dict[str, NDArray[Any]]) -> Any:
        session = self._planned if self._shapes.hold(feeds[self._shapes.name].shape) else self._other
        return session.run(outputs, feeds)


def session_providers(provider: Provider, shapes: ShapeProfile | None) -> list[Any]:
    """Returns what InferenceSession takes as `providers`: this one, and those that do what it does not.

    Args:
        shapes: for TensorRT.
    """
    chain: list[Any] = [CPU.execution_provider]
    if provider.gpu:
        chain.insert(0, (CUDA.execution_provider, _cuda_options()))
    if shapes is not None and provider == TENSORRT:
        chain.insert(0, (TENSORRT.execution_provider, _tensorrt_options(shapes)))
    return chain


def find_libraries() -> None:
    """Loads CUDA's and cuDNN's libraries from NVIDIA's packages for Python, where ONNX Runtime by itself does not look."""
    preload = getattr(onnxruntime, "preload_dlls", None)  # 1.21
    if preload is not None:
        with contextlib.redirect_stdout(
            io.StringIO()
        ):  # what is not found there, may be found by ONNX Runtime
            preload()


def cache_folder() -> Path | None:
    """Returns the folder, made where it is missing, for what TensorRT took minutes to plan; None where there can be none.

    In the folder for caches of systemd's service, or of the user.
    """
    base = os.environ.get("CACHE_DIRECTORY") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    # plans of one version are not for another
    folder = Path(base).expanduser() / "pyraface" / f"tensorrt-onnxruntime-{onnxruntime.__version__}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return None
    return folder if os.access(folder, os.W_OK) else None


def _tensorrt_options(shapes: ShapeProfile) -> dict[str, str]:
    # TensorRT has no option of its own in ONNX Runtime for what `use_tf32` is below
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    options = shapes.options()
    folder = cache_folder()
    if folder is not None:
        # with the shapes known, plans are made and written as the session starts: before the process is confined
        options |= {
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": str(folder),
        }
    return options


def _cuda_options() -> dict[str, str]:
    options = {
        # the shapes change with every picture: trying all algorithms for each would cost more than it gains
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
    }
    if tuple(int(part) for part in onnxruntime.__version__.split(".")[:2]) >= (1, 18):
        # 10 bits of mantissa would move the numbers by more than all other differences between engines together
        options["use_tf32"] = "0"
    return options

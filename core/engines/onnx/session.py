"""Sessions of ONNX Runtime: where the networks run, and how each is started there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from numpy.typing import NDArray

from ...errors import EngineError, EngineMemoryError, tells_of_memory
from ...text import plural
from .. import devices
from . import providers
from .providers import Provider, ShapeProfile
from .runtime import failures, onnxruntime

FAILURES = (
    RuntimeError,
    MemoryError,
    failures.EPFail,
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NotImplemented,
    failures.RuntimeException,
)
"""The exceptions by which ONNX Runtime and dlib report that a network, a device or the memory failed."""

Networks = TypeVar("Networks")


class Session:
    """A network, started on a device. Networks with any number of inputs and outputs, of any element type, fit."""

    def __init__(self, started: Any, device: str) -> None:
        self._started = started
        self._device = device

    def run(self, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Returns the network's outputs, in the order of the model, for inputs by name.

        Raises:
            EngineError: the device failed.
        """
        try:
            outputs: list[NDArray[Any]] = self._started.run(None, feeds)
        except FAILURES as error:
            text = str(error) or type(error).__name__
            kind = EngineMemoryError if tells_of_memory(text) else EngineError
            raise kind(f"ONNX Runtime failed on {self._device}: {text}") from error
        return outputs


@dataclass(frozen=True)
class Placement:
    """Where the networks run: a provider, and the threads of its share on the CPU.

    passed_over: for each faster provider that did not start, its label and the reason.
    """

    provider: Provider
    threads: int
    passed_over: tuple[str, ...] = ()

    @property
    def gpu(self) -> bool:
        return self.provider.gpu

    @property
    def device(self) -> str:
        """For people: "cpu, 2 threads (CUDA did not start: ...)"."""
        if self.gpu:
            return f"cuda:0{devices.gpu_name()}, {self.provider.label}"
        return f"cpu, {plural(self.threads, 'thread')}" + "".join(
            f" ({reason})" for reason in self.passed_over
        )

    def start(self, model: bytes, shapes: ShapeProfile | None = None) -> Session:
        """Starts a network here.

        Args:
            model: the network in ONNX's format.
            shapes: the input shapes that TensorRT plans for. Without them, CUDA runs the network in TensorRT's place.

        Raises:
            EngineError: the provider's libraries, the driver or a GPU are missing.
        """
        if self.provider == providers.TENSORRT and shapes is not None:
            planned = self._inference_session(model, providers.TENSORRT, shapes)
            return Session(
                providers.Planned(planned, self._inference_session(model, providers.CUDA), shapes),
                self.device,
            )
        return Session(
            self._inference_session(model, providers.CUDA if self.gpu else providers.CPU), self.device
        )

    def start_on_cpu(self, model: bytes, *, threads: int = 0) -> Session:
        """Starts a network on the CPU, whatever the provider; `threads` 0: as many as the placement has."""
        return Session(self._inference_session(model, providers.CPU, threads=threads), self.device)

    def _inference_session(
        self, model: bytes, provider: Provider, shapes: ShapeProfile | None = None, *, threads: int = 0
    ) -> Any:
        options = session_options(threads or self.threads)
        if provider.gpu:
            providers.find_libraries()
        chain = providers.session_providers(provider, shapes)
        started = onnxruntime.InferenceSession(model, options, providers=chain, enable_fallback=0)
        if provider.execution_provider not in started.get_providers():
            raise EngineError("its libraries, the driver or a GPU are missing")
        return started


def place(threads: int, start: Callable[[Placement], Networks]) -> tuple[Placement, Networks]:
    """Returns the best placement on which `start` succeeds, and the networks that it started there.

    Raises:
        EngineError, FAILURES: of `start`, on the CPU, which is tried last.
    """
    passed_over: tuple[str, ...] = ()
    for provider in providers.best_first(onnxruntime.get_available_providers()):
        placement = Placement(provider, threads, passed_over)
        try:
            return placement, start(placement)
        except (EngineError, *FAILURES) as error:
            if not provider.gpu:
                raise
            passed_over = (*passed_over, f"{provider.label} did not start: {error}")
    raise AssertionError("the CPU is always among the providers")


def session_options(threads: int) -> Any:
    """Returns the options of every session; each was chosen by measurement (benchmarks/runtime.py)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # failures arrive as exceptions; nothing is printed
    options.intra_op_num_threads = threads
    # ONNX Runtime would keep a memory plan for every input shape; photographs have many, and the plans gain no speed.
    options.enable_mem_pattern = False
    if _shared_arena():
        options.add_session_config_entry("session.use_env_allocators", "1")
    # Threads that spin after their work would take the cores from the next session, and from decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


@cache
def _shared_arena() -> bool:
    """Returns whether all sessions of this process share an arena, which it registers: they run one after the other."""
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    try:
        onnxruntime.create_and_register_allocator(memory, None)
    except FAILURES:
        return False  # the application has registered an arena with options of its own
    return True

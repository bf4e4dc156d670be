"""core/engines/onnx/providers.py: which provider runs the networks, without a GPU to run them on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyraface.core.engines import EngineOptions
from pyraface.core.engines.network import weights
from pyraface.core.engines.onnx import providers
from pyraface.core.engines.onnx.engine import OnnxEngine
from pyraface.core.engines.onnx.providers import CPU, CUDA, TENSORRT, Planned, ShapeProfile
from pyraface.core.engines.onnx.runtime import onnxruntime
from pyraface.core.errors import EngineError

EVERY = [TENSORRT.execution_provider, CUDA.execution_provider, CPU.execution_provider]


@pytest.fixture
def no_gpu() -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime was built for GPUs")


@pytest.fixture
def cpu_as_cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to CUDA is computed by the CPU: everything but the arithmetic is as on a GPU."""
    request.getfixturevalue("no_gpu")
    monkeypatch.setattr(providers, "CUDA", replace(CUDA, execution_provider=CPU.execution_provider))
    monkeypatch.setattr(providers, "_cuda_options", dict)


@pytest.mark.parametrize(
    ("available", "tried"),
    [
        (EVERY, [TENSORRT, CUDA, CPU]),
        (EVERY[::-1], [TENSORRT, CUDA, CPU]),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], [CUDA, CPU]),
        (["AzureExecutionProvider", "CPUExecutionProvider"], [CPU]),
        ([], [CPU]),
    ],
)
def test_providers_are_tried_the_best_first(available: list[str], tried: list[providers.Provider]) -> None:
    assert providers.best_first(available) == tried


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_where_no_gpu_starts_the_cpu_does_and_says_why(
    monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray, tmp_path: Path
) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: EVERY)
    engine = OnnxEngine(EngineOptions(threads=1))
    assert engine.device.startswith("cpu, 1 thread (TensorRT did not start: its libraries, the driver")
    assert "(CUDA did not start: its libraries" in engine.device
    assert engine.processor == "cpu, int8"
    [found] = engine.detect([astronaut])
    assert len(found.boxes) == 1


@pytest.mark.usefixtures("cpu_as_cuda")
@pytest.mark.filterwarnings("ignore:Duplicate provider:UserWarning")
def test_a_gpu_gets_batches_and_no_screening(astronaut: np.ndarray, onnx_engine: OnnxEngine) -> None:
    engine = OnnxEngine(EngineOptions(threads=1))
    assert engine.device.startswith("cuda:0")
    assert engine.device.endswith("CUDA")
    assert engine.processor.partition(", ")[0] == "cuda"
    assert engine.batch_size(1600, 2400) == 1
    assert engine.batch_size(400, 600) == 16
    assert engine.detector.int8 is None
    tiles = [np.ascontiguousarray(astronaut[20:260, left : left + 200]) for left in (100, 140, 300)]
    for found, expected in zip(engine.detect(tiles), onnx_engine.detect(tiles), strict=True):
        assert np.array_equal(found.boxes, expected.boxes)
        assert np.allclose(found.confidences, expected.confidences, atol=1e-5)


@pytest.mark.usefixtures("cpu_as_cuda")
@pytest.mark.filterwarnings("ignore:Duplicate provider:UserWarning")
def test_a_gpu_that_computes_no_numbers_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = weights.load_detector()
    last = replace(detector.convolutions[-1], bias=np.full(1, np.nan, np.float32))
    broken = replace(detector, convolutions=(*detector.convolutions[:-1], last))
    monkeypatch.setattr(weights, "load_detector", lambda: broken)
    assert "(CUDA did not start: it computes NaN)" in OnnxEngine(EngineOptions(threads=1)).device


@pytest.mark.usefixtures("cpu_as_cuda")
@pytest.mark.filterwarnings("ignore:Duplicate provider:UserWarning")
def test_tensorrt_has_what_it_planned_for_and_cuda_the_rest(
    monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray, onnx_engine: OnnxEngine
) -> None:
    """Both computed by the CPU; the options that TensorRT would get are looked at."""
    asked: list[dict[str, str]] = []

    def options(shapes: ShapeProfile) -> dict[str, str]:
        asked.append(shapes.options())
        return {}

    monkeypatch.setattr(providers, "TENSORRT", replace(TENSORRT, execution_provider=CPU.execution_provider))
    monkeypatch.setattr(providers, "_tensorrt_options", options)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: EVERY)
    engine = OnnxEngine(EngineOptions(threads=1, tile_pixels=300_000))
    assert engine.device.endswith("TensorRT")
    assert engine.processor.partition(", ")[0] == "tensorrt"
    assert engine.batch_size(40, 60) == 1
    assert [sorted(one) for one in asked] == [
        [f"trt_profile_{which}_shapes" for which in ("max", "min", "opt")]
    ] * 2
    assert asked[0]["trt_profile_min_shapes"] == "image:1x3x29x37"
    planned: list[tuple[int, ...]] = []
    trunk = engine.detector.float32.trunk._started._planned

    class Recording:
        def run(self, outputs: None, feeds: dict[str, np.ndarray]) -> Any:
            planned.append(feeds["image"].shape)
            return trunk.run(outputs, feeds)

    monkeypatch.setattr(engine.detector.float32.trunk._started, "_planned", Recording())
    usual, panorama = astronaut[:300, :400], np.tile(astronaut[30:180], (1, 4, 1))
    for tile, is_planned in ((usual, True), (panorama, False)):
        planned.clear()
        [found], [expected] = engine.detect([tile]), onnx_engine.detect([tile])
        assert bool(planned) == is_planned
        assert len(expected.boxes) > 0
        assert np.array_equal(found.boxes, expected.boxes)


def test_an_input_beyond_the_plan_goes_to_the_other_session() -> None:
    class Session:
        def __init__(self, name: str) -> None:
            self._name = name

        def run(self, outputs: None, feeds: object) -> list[str]:
            del outputs, feeds
            return [self._name]

    shapes = ShapeProfile("image", (1, 3, 29, 42), (1, 3, 100, 200), (1, 3, 150, 300))
    session = Planned(Session("planned"), Session("other"), shapes)
    for shape, expected in {
        (1, 3, 29, 42): "planned",
        (1, 3, 150, 300): "planned",
        (1, 3, 151, 300): "other",
        (1, 3, 150, 301): "other",
        (2, 3, 150, 300): "other",
        (1, 3, 28, 42): "other",
    }.items():
        assert session.run(None, {"image": np.zeros(shape, np.float32)}) == [expected]


@pytest.mark.parametrize("variable", ["CACHE_DIRECTORY", "XDG_CACHE_HOME"])
def test_plans_are_kept_in_the_cache_folder(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("CACHE_DIRECTORY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "cache"))
    folder = providers.cache_folder()
    assert folder is not None
    assert folder.is_dir()
    assert folder.parent == tmp_path / "cache" / "pyraface"
    shapes = ShapeProfile("image", (1, 3, 29, 42), (1, 3, 100, 200), (1, 3, 150, 300))
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    options = providers._tensorrt_options(shapes)
    assert options["trt_engine_cache_path"] == str(folder)
    assert options["trt_profile_max_shapes"] == "image:1x3x150x300"


def test_without_a_cache_folder_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    assert providers.cache_folder() is None
    shapes = ShapeProfile("image", (1, 3, 29, 42), (1, 3, 100, 200), (1, 3, 150, 300))
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert not any("cache" in name for name in providers._tensorrt_options(shapes))


@pytest.mark.usefixtures("no_gpu")
def test_a_cpu_that_fails_is_an_engine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "CPU", replace(CPU, execution_provider="CUDAExecutionProvider"))
    with pytest.warns(UserWarning, match="Specified provider"), pytest.raises(EngineError):
        OnnxEngine(EngineOptions(threads=1))

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import cast

import pytest

from pyraface.core.engines import EngineName, EngineOptions, start
from pyraface.core.errors import EngineError


def test_an_engine_starts_by_its_name() -> None:
    assert start("onnx", EngineOptions(threads=1)).name == "onnx"
    assert start("dlib").name == "dlib"


def test_auto_is_onnx_where_dlib_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import dlib

    monkeypatch.setattr(dlib, "DLIB_USE_CUDA", False)
    assert start("auto", EngineOptions(threads=1)).name == "onnx"


def test_auto_is_onnx_where_dlibs_gpu_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    import dlib

    def no_driver() -> int:
        raise RuntimeError("Error while calling cudaGetDeviceCount(): no CUDA-capable device is detected")

    monkeypatch.setattr(dlib, "DLIB_USE_CUDA", True)
    monkeypatch.setattr(dlib, "cuda", SimpleNamespace(get_num_devices=no_driver))
    assert start("auto", EngineOptions(threads=1)).name == "onnx"


def test_auto_is_dlib_where_dlib_has_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import dlib

    monkeypatch.setattr(dlib, "DLIB_USE_CUDA", True)
    monkeypatch.setattr(dlib, "cuda", SimpleNamespace(get_num_devices=lambda: 1, get_device=lambda: 0))
    engine = start("auto")
    assert engine.name == "dlib"
    assert engine.gpu
    assert engine.device.startswith("cuda:0")
    assert engine.processor.startswith("cuda")


def test_auto_without_dlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    for module in ("engine", "encoder"):
        monkeypatch.delitem(sys.modules, f"pyraface.core.engines.onnx.{module}", raising=False)
    with pytest.raises(EngineError, match="pip install dlib"):
        start("auto")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(EngineError, match="unknown engine 'cuda'; the engines are auto, onnx, dlib"):
        start(cast("EngineName", "cuda"))

"""Both engines, started once."""

from __future__ import annotations

import pytest

from pyraface.core.engines import EngineOptions
from pyraface.core.engines.dlib import DlibEngine
from pyraface.core.engines.onnx.engine import OnnxEngine


@pytest.fixture(scope="session")
def onnx_engine() -> OnnxEngine:
    return OnnxEngine(EngineOptions())


@pytest.fixture(scope="session")
def dlib_engine() -> DlibEngine:
    return DlibEngine(EngineOptions())

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from pyraface.core.engines.onnx import providers
from pyraface.core.engines.onnx.providers import CPU, CUDA, TENSORRT
from pyraface.core.engines.onnx.session import Placement, place
from pyraface.core.errors import EngineError


def two_outputs() -> bytes:
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["pixels"], ["as_float"], to=TensorProto.FLOAT),
            helper.make_node("Identity", ["pixels"], ["same"]),
        ],
        "two_outputs",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 3])],
        [
            helper.make_tensor_value_info("same", TensorProto.UINT8, ["n", 3]),
            helper.make_tensor_value_info("as_float", TensorProto.FLOAT, ["n", 3]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_a_network_gives_all_its_outputs_in_the_models_order() -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    same, as_float = Placement(CPU, 1).start(two_outputs()).run({"pixels": pixels})
    assert np.array_equal(same, pixels)
    assert same.dtype == np.uint8
    assert np.array_equal(as_float, pixels)
    assert as_float.dtype == np.float32


def test_an_input_of_another_type_is_an_engine_error_that_names_the_device() -> None:
    session = Placement(CPU, 2).start_on_cpu(two_outputs())
    with pytest.raises(EngineError, match="ONNX Runtime failed on cpu, 2 threads: "):
        session.run({"pixels": np.zeros((2, 3), np.float32)})


def test_the_placement_tells_which_faster_providers_were_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "best_first", lambda _: [TENSORRT, CUDA, CPU])

    def start(placement: Placement) -> str:
        if placement.gpu:
            raise EngineError("no driver")
        return "networks"

    placement, networks = place(1, start)
    assert networks == "networks"
    assert placement.device == (
        "cpu, 1 thread (TensorRT did not start: no driver) (CUDA did not start: no driver)"
    )

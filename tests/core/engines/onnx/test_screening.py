"""core/engines/onnx/screening.py: what 8-bit integers leave, float32 decides, and nothing is lost or changed by it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import load_model_from_string, numpy_helper

from pyraface.core.engines import EngineOptions
from pyraface.core.engines.network import weights
from pyraface.core.engines.onnx import graphs, screening
from pyraface.core.engines.onnx.engine import OnnxEngine
from pyraface.core.engines.onnx.screening import BLOCK, MARGIN, REACH
from tests.portrait_crops import CROPS

WINDOW = BLOCK + 2 * REACH


@pytest.fixture(scope="module")
def float32_engine() -> OnnxEngine:
    return OnnxEngine(EngineOptions(screened=False))


class Head:
    """The engine's head in float32 over a map of features, which remembers how many cells it went over."""

    def __init__(self, engine: OnnxEngine, features: NDArray[np.float32]) -> None:
        self._engine = engine
        self._features = features
        self.cells = 0

    def __call__(self, corners: list[tuple[int, int]], size: tuple[int, int]) -> NDArray[np.float32]:
        height, width = size
        self.cells += len(corners) * height * width
        parts = [self._features[:, top : top + height, left : left + width] for top, left in corners]
        return self._engine.detector.float32.head.run({"features": np.stack(parts)})[0][:, 0]

    @property
    def whole(self) -> NDArray[np.float32]:
        _, height, width = self._features.shape
        return Head(self._engine, self._features)([(0, 0)], (height, width))[0]


def on_a_map(shape: tuple[int, int], *cells: tuple[int, int]) -> NDArray[np.float32]:
    scores = np.full(shape, -1, np.float32)
    for strength, cell in enumerate(reversed(cells)):
        scores[cell] = strength + 1
    return scores


def test_a_face_is_one_block_round_its_strongest_cell() -> None:
    cells = [(20 + row, 30 + column) for row in (0, -1, 1) for column in (0, -1, 1)]
    assert screening.covering(on_a_map((50, 60), *cells), 0, 9).tolist() == [  # type: ignore[union-attr]
        [20 - BLOCK // 2, 30 - BLOCK // 2]
    ]


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (BLOCK, BLOCK), (40, 40)])
def test_blocks_stay_inside_the_map(shape: tuple[int, int]) -> None:
    height, width = shape
    for cell in [(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1)]:
        blocks = screening.covering(on_a_map(shape, cell), 0, 9)
        assert blocks is not None
        [[row, column]] = blocks.tolist()
        assert 0 <= row <= max(0, height - BLOCK)
        assert 0 <= column <= max(0, width - BLOCK)
        assert row <= cell[0] < row + BLOCK
        assert column <= cell[1] < column + BLOCK


def test_more_blocks_than_are_worth_it_are_none() -> None:
    scores = on_a_map((50, 50), (5, 5), (25, 25), (45, 45))
    assert screening.covering(scores, 0, 2) is None
    assert len(screening.covering(scores, 0, 3)) == 3  # type: ignore[arg-type]
    assert screening.covering(np.full((50, 50), -1, np.float32), 0, 0).shape == (0, 2)  # type: ignore[union-attr]


@settings(max_examples=40)
@given(
    height=st.integers(1, 120),
    width=st.integers(1, 120),
    seed=st.integers(0, 2**32 - 1),
    faces=st.integers(0, 4),
)
def test_wherever_a_score_can_be_above_the_threshold_it_is_that_of_the_whole_in_float32(
    height: int, width: int, seed: int, faces: int, onnx_engine: OnnxEngine
) -> None:
    chance = np.random.default_rng(seed)
    head = Head(onnx_engine, chance.random((32, height, width), np.float32) * 4)
    exact = head.whole
    marked = np.zeros((height, width), np.bool_)
    for row, column in zip(
        chance.integers(height, size=faces), chance.integers(width, size=faces), strict=True
    ):
        marked[row : row + BLOCK, column : column + BLOCK] = True
    # integers that are wrong everywhere, and may be a face where marked
    scores = np.full((height, width), -1e3, np.float32)
    scores[marked] = 0.5 - MARGIN + 1e-3 + chance.random(marked.sum(), np.float32)
    final = screening.rescored(scores, head, 0.5)
    assert np.allclose(final[marked], exact[marked], atol=1e-4)
    assert (np.isclose(final, exact, atol=1e-4) | (final == -1e3)).all()
    assert head.cells <= height * width


def test_a_map_without_anything_costs_nothing_more(onnx_engine: OnnxEngine) -> None:
    head = Head(onnx_engine, np.zeros((32, 80, 80), np.float32))
    scores = np.full((80, 80), -MARGIN, np.float32)
    assert np.array_equal(screening.rescored(scores, head, 0.0), scores)
    assert head.cells == 0


def test_a_map_full_of_faces_is_computed_once(onnx_engine: OnnxEngine) -> None:
    head = Head(onnx_engine, np.random.default_rng(0).random((32, 80, 90), np.float32))
    final = screening.rescored(np.ones((80, 90), np.float32), head, 0.0)
    assert head.cells == 80 * 90
    assert np.array_equal(final, head.whole)


def test_few_faces_cost_little(onnx_engine: OnnxEngine) -> None:
    head = Head(onnx_engine, np.zeros((32, 200, 300), np.float32))
    scores = on_a_map((200, 300), (5, 5), (100, 150))
    screening.rescored(scores, head, 0.0)
    assert head.cells == 2 * WINDOW**2


def test_no_sum_of_two_products_exceeds_16_bits() -> None:
    """Processors without instructions for dot products of bytes would cut it off, and say nothing."""
    network = weights.load_detector()
    models = {
        2: graphs.screen_trunk(network, screening.TRUNK_RANGES),
        3: graphs.screen_head(network, screening.HEAD_RANGES),
    }
    for count, data in models.items():
        model = load_model_from_string(data)
        constants = {constant.name: numpy_helper.to_array(constant) for constant in model.graph.initializer}
        layers = [node for node in model.graph.node if node.op_type == "QLinearConv"]
        assert len(layers) == count
        for layer in layers:
            largest = np.abs(constants[layer.input[3]].astype(int)).max()
            assert largest >= 60
            assert 255 * largest * 2 <= np.iinfo(np.int16).max


@pytest.mark.parametrize("name", CROPS)
def test_screening_changes_no_face(
    name: str, astronaut: np.ndarray, onnx_engine: OnnxEngine, float32_engine: OnnxEngine
) -> None:
    tile = np.ascontiguousarray(CROPS[name](astronaut))
    check_same(tile, onnx_engine, float32_engine)


def check_same(tile: np.ndarray, screened: OnnxEngine, float32: OnnxEngine) -> None:
    [found], [expected] = screened.detect([tile]), float32.detect([tile])
    assert len(expected.boxes) > 0
    assert np.array_equal(found.boxes, expected.boxes)
    assert np.abs(found.voted - expected.voted).max() < 1e-3
    assert np.abs(found.confidences - expected.confidences).max() < 1e-5


def test_the_processor_tells_that_tiles_are_screened(
    onnx_engine: OnnxEngine, float32_engine: OnnxEngine
) -> None:
    assert onnx_engine.processor.endswith(", int8") or onnx_engine.gpu
    assert "int8" not in float32_engine.processor

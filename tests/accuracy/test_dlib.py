from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import dlib
import numpy as np
import pytest
from PIL import ImageFile

from pyraface.core.engines import EngineOptions
from pyraface.core.engines.dlib import DlibEngine
from pyraface.core.errors import EngineError


def test_boxes_and_encodings_are_those_of_face_recognition(
    dlib_engine: DlibEngine, astronaut: np.ndarray
) -> None:
    import face_recognition

    [found] = dlib_engine.detect([astronaut])
    locations = face_recognition.face_locations(astronaut, number_of_times_to_upsample=0, model="cnn")
    encodings = face_recognition.face_encodings(astronaut, locations)
    assert [(top, right, bottom, left) for left, top, right, bottom in found.boxes.tolist()] == locations
    assert len(locations) == 1
    assert found.boxes.dtype == found.confidences.dtype == np.float32
    assert found.confidences.tolist() == [pytest.approx(1.0625, abs=1e-3)]
    assert np.array_equal(dlib_engine.encode(astronaut, found.boxes), np.array(encodings, np.float32))


def test_a_box_beyond_the_edge_is_cut_off_as_face_recognition_does(
    dlib_engine: DlibEngine, astronaut: np.ndarray
) -> None:
    import face_recognition

    cut = np.ascontiguousarray(astronaut[75:180, 150:280])
    [found] = dlib_engine.detect([cut])
    locations = face_recognition.face_locations(cut, number_of_times_to_upsample=0, model="cnn")
    assert [(top, right, bottom, left) for left, top, right, bottom in found.boxes.tolist()] == locations
    assert 0 in locations[0]


def test_several_tiles_give_what_each_gives_alone(dlib_engine: DlibEngine, astronaut: np.ndarray) -> None:
    tiles = [np.ascontiguousarray(astronaut[30:180, left : left + 150]) for left in (130, 140, 300)]
    together = dlib_engine.detect(tiles)
    alone = [dlib_engine.detect([tile])[0] for tile in tiles]
    assert [len(found.boxes) for found in together] == [1, 1, 0]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.boxes, other.boxes)
        assert np.array_equal(one.confidences, other.confidences)


def test_tiles_in_batches_give_what_each_gives_alone(
    dlib_engine: DlibEngine, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = [np.ascontiguousarray(astronaut[30:180, left : left + 150]) for left in (130, 140, 300, 120)]
    alone = [dlib_engine.detect([tile])[0] for tile in tiles]
    detector, sizes = dlib_engine._detector, []

    def counted(tiles: list[np.ndarray], upsample: int, batch_size: int) -> object:
        sizes.append(batch_size)
        return detector(tiles, upsample, batch_size=batch_size)

    monkeypatch.setattr(dlib_engine, "_detector", counted)
    monkeypatch.setattr(dlib_engine, "batch_size", lambda *_: 3)
    together = dlib_engine.detect(tiles)
    assert sizes == [3]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.boxes, other.boxes)
        assert np.allclose(one.voted, other.voted, atol=1e-3)
        assert np.allclose(one.confidences, other.confidences, atol=1e-5)


def test_a_gpu_has_as_many_tiles_at_once_as_the_memory_of_a_large_one_holds(
    dlib_engine: DlibEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dlib_engine, "gpu", False)
    assert dlib_engine.batch_size(400, 600) == 1
    monkeypatch.setattr(dlib_engine, "gpu", True)
    assert dlib_engine.batch_size(1600, 2400) == 1
    assert dlib_engine.batch_size(400, 600) == 16
    assert dlib_engine.batch_size(20_000, 2_000) == 1


def test_the_engine_says_what_it_runs_on(dlib_engine: DlibEngine) -> None:
    assert dlib_engine.name == "dlib"
    assert dlib_engine.device.startswith(("cpu", "cuda:"))
    assert dlib_engine.processor == "cpu" or dlib_engine.processor.startswith("cuda")
    assert dlib_engine.libraries == f"dlib {dlib.__version__}"


def test_starting_leaves_pillow_strict_about_damaged_images(dlib_engine: DlibEngine) -> None:
    """face_recognition sets ImageFile.LOAD_TRUNCATED_IMAGES as it is imported."""
    assert dlib_engine.name == "dlib"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_without_room_for_a_temporary_file_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(EngineError, match="temporary file: No such file or directory; set TMPDIR"):
        DlibEngine(EngineOptions())


def test_without_onnx_runtime_the_engine_starts_and_its_proposer_says_what_to_install(
    dlib_engine: DlibEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "pyraface.core.engines.onnx.proposer", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        EngineError, match=r"YuNet needs .*: pip install onnx onnxruntime, or search everywhere"
    ):
        dlib_engine.proposer()

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import pyraface
from pyraface.core import fingerprints, parameters, turning
from pyraface.core.boxes import Boxes
from pyraface.core.computed_by import ComputedBy
from pyraface.core.engines import Detections, Engine, Pixels, Proposer, Tile
from pyraface.core.errors import EngineError, FormatNotReadError
from pyraface.core.faces import Faces
from pyraface.core.images import formats, memory
from pyraface.core.parameters import AUTOMATIC, Parameters
from pyraface.core.pipeline import Pipeline
from pyraface.core.search import Search
from tests.stub_daemon import StubEngine
from tests.support import ROOT

EVERYWHERE = (ROOT / "parameters.xml").read_bytes().replace(b"<search>auto<", b"<search>everywhere<")
"""The parameters of the package, with a search that no option of an engine changes."""


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """One level of 0.25 Mpx: a fourth of the sides of `large`."""
    packaged = parameters.parse(EVERYWHERE)
    detection = replace(packaged.detection, height=500, width=500, upsample=0, levels=1)
    return Pipeline(replace(packaged, detection=detection), "onnx")


@pytest.fixture(scope="module")
def reducing(pipeline: Pipeline) -> Pipeline:
    detection = replace(pipeline.parameters.detection, reduced_decoding=True)
    return Pipeline(replace(pipeline.parameters, detection=detection), pipeline.engine)


def large(astronaut: np.ndarray, format: str = "JPEG", orientation: int = 1) -> bytes:
    """The portrait at 2001 x 2047, stored so that an orientation makes it upright."""
    image = Image.fromarray(astronaut).resize((2001, 2047))
    if orientation == 6:
        image = image.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[274] = orientation
    stream = io.BytesIO()
    image.save(stream, format, exif=exif.tobytes(), quality=95)
    return stream.getvalue()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_decoded_no_larger_than_its_levels_need(
    orientation: int, astronaut: np.ndarray, pipeline: Pipeline, reducing: Pipeline
) -> None:
    data = large(astronaut, orientation=orientation)
    admitted: list[int] = []
    picture = reducing.decode(data, admitted.append)
    assert picture.pixels.shape == (512, 501, 3)
    assert admitted == [512 * 501 * memory.USUAL]
    assert (picture.width, picture.height, picture.orientation) == (2001, 2047, orientation)
    whole, reduced = pipeline.detect(data), reducing.find(picture)
    assert len(whole) == len(reduced) == 1
    # in pixels of the file, 4 for each that was decoded
    assert np.abs(whole.boxes - reduced.boxes).max() < 8
    assert whole.boxes[0, 2] - whole.boxes[0, 0] > 300
    assert np.linalg.norm(whole.encodings - reduced.encodings) < 0.2
    np.testing.assert_allclose(whole.sizes, reduced.sizes, atol=8)
    assert whole.comparable.all()
    assert reduced.comparable.all()


def test_the_threshold_of_parameters_xml_is_the_engines(astronaut_jpeg: bytes, pipeline: Pipeline) -> None:
    [confidence] = pipeline.detect(astronaut_jpeg).confidences.tolist()
    strict = replace(pipeline.parameters.detection, threshold=confidence + 0.01)
    assert len(Pipeline(replace(pipeline.parameters, detection=strict), "onnx").detect(astronaut_jpeg)) == 0


def test_screening_in_parameters_xml_is_the_engines(astronaut_jpeg: bytes, pipeline: Pipeline) -> None:
    everywhere = replace(pipeline.parameters.detection, screening=False)
    float32 = Pipeline(replace(pipeline.parameters, detection=everywhere), "onnx")
    assert pipeline.computed_by.has("int8") or pipeline.engine.gpu
    assert not float32.computed_by.has("int8")
    assert pipeline.fingerprint == float32.fingerprint
    one, other = pipeline.detect(astronaut_jpeg), float32.detect(astronaut_jpeg)
    assert np.array_equal(one.boxes, other.boxes)
    assert np.array_equal(one.encodings, other.encodings)


def test_every_pixel_is_decoded_unless_that_is_asked_for(
    astronaut: np.ndarray, pipeline: Pipeline, reducing: Pipeline
) -> None:
    assert not pipeline.parameters.detection.reduced_decoding
    assert pipeline.decode(large(astronaut)).pixels.shape == (2047, 2001, 3)
    assert pipeline.fingerprint != reducing.fingerprint


def test_other_formats_are_decoded_whole(astronaut: np.ndarray, reducing: Pipeline) -> None:
    assert reducing.decode(large(astronaut, "BMP")).pixels.shape == (2047, 2001, 3)


def test_a_picture_that_a_level_shows_at_full_size_is_decoded_whole(
    astronaut_jpeg: bytes, reducing: Pipeline
) -> None:
    assert reducing.decode(astronaut_jpeg).pixels.shape == (512, 512, 3)


def test_the_smallest_face_wanted_is_in_pixels_of_the_file_however_few_of_them_are_decoded(
    astronaut: np.ndarray, reducing: Pipeline
) -> None:
    data = large(astronaut)  # a face of 360 px
    picture = reducing.decode(data, faces_from=300)
    assert picture.pixels.shape == (1024, 1001, 3)
    assert len(reducing.find(picture, faces_from=300)) == 1
    assert len(reducing.detect(data, faces_from=1000)) == 0


def test_how_a_face_is_encoded_is_set_in_parameters_xml(astronaut_jpeg: bytes, pipeline: Pipeline) -> None:
    xml = EVERYWHERE
    for old, new in ((b"<landmarks>5<", b"<landmarks>68<"), (b"<jitters>1<", b"<jitters>4<")):
        assert xml.count(old) == 1
        other = parameters.parse(xml.replace(old, new))
        set_so = Pipeline(replace(pipeline.parameters, encoding=other.encoding), "onnx")
        assert set_so.fingerprint != pipeline.fingerprint
        one, same = pipeline.detect(astronaut_jpeg), set_so.detect(astronaut_jpeg)
        np.testing.assert_array_equal(one.boxes, same.boxes)
        assert 0.03 < np.linalg.norm(one.encodings - same.encodings) < 0.4


class Scripted:
    """A search that returns what it was given."""

    def __init__(self, *faces: Faces) -> None:
        self._faces = Faces.concatenate(list(faces))

    def candidates(self, _: Pixels, **__: float) -> Faces:
        return self._faces

    def finest_zoom(self, *_: int, **__: float) -> float:
        return 1.0


class Scripting(Pipeline):
    """A pipeline whose search is replaced."""

    scripted: Search | None = None

    def search(self, name: str = "") -> Search:
        return self.scripted or super().search(name)


class Counting:
    """The engine of a pipeline, with the number of boxes in each call that encodes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.encoded: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def encode(self, image: Pixels, boxes: Boxes) -> NDArray[np.float32]:
        self.encoded.append(len(boxes))
        return self._engine.encode(image, boxes)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_face_is_encoded_as_the_upright_one(
    degrees: int, astronaut: np.ndarray, pipeline: Pipeline
) -> None:
    upright = pipeline.detect(astronaut)
    lying = turning.turned(astronaut, 360 - degrees)
    boxes = turning.turned_boxes(upright.boxes, (512, 512), 360 - degrees)
    searched = Scripting(pipeline.parameters, pipeline.engine)
    searched.scripted = Scripted(Faces.detected(boxes, upright.confidences, level=0, turned=degrees))
    [found] = searched.detect(lying)
    assert found.turned == degrees
    np.testing.assert_allclose(found.box, boxes[0], atol=0.01)
    assert np.linalg.norm(found.encoding - upright.encodings[0]) < 1e-3
    searched.scripted = Scripted(Faces.detected(boxes, upright.confidences, level=0))
    [as_it_lies] = searched.detect(lying)
    assert np.linalg.norm(as_it_lies.encoding - upright.encodings[0]) > 0.3


def test_faces_that_are_upright_are_encoded_in_one_call(astronaut: np.ndarray, pipeline: Pipeline) -> None:
    [box] = pipeline.detect(astronaut).boxes
    places = box + np.array([[0, 0, 0, 0], [-150, 0, -150, 0], [0, 160, 0, 160]], np.float32)
    apart = [Faces.detected(place[None], np.ones(1, np.float32), level=0) for place in places]
    lying = Faces.detected(places[2:], np.ones(1, np.float32), level=0, turned=90)
    engine = Counting(pipeline.engine)
    searched = Scripting(pipeline.parameters, cast("Engine", engine))
    searched.scripted = Scripted(*apart)
    alone = searched.detect(astronaut)
    assert engine.encoded == [3]
    engine.encoded.clear()
    searched.scripted = Scripted(*apart[:2], lying)
    beside = searched.detect(astronaut)
    assert engine.encoded == [2, 1]
    for index in range(2):
        np.testing.assert_array_equal(alone.encodings[index], beside.encodings[index])


class Named:
    """An engine that is never used."""

    name, device, gpu = "onnx", "cpu", False
    processor, libraries = "cpu", "none"

    def batch(self, height: int, width: int) -> int:
        raise NotImplementedError

    def prepare(self, tile: Pixels, scales: int = 0) -> Tile:
        raise NotImplementedError

    def detect(self, tiles: Sequence[Tile]) -> list[Detections]:
        raise NotImplementedError

    def encode(self, image: Pixels, boxes: Boxes) -> NDArray[np.float32]:
        raise NotImplementedError

    def proposer(self) -> Proposer:
        raise NotImplementedError


def test_a_pipeline_says_what_was_asked_for_and_what_computes_it() -> None:
    set_so = parameters.parse(EVERYWHERE)
    pipeline = Pipeline(set_so, Named())
    expected = fingerprints.of("everywhere", set_so.detection, set_so.fusion, set_so.encoding)
    assert pipeline.fingerprint == pipeline.fingerprint_of("everywhere") == expected
    assert pipeline.computed_by == ComputedBy("onnx", "cpu", f"{pyraface.__version__}, none")


class Proposing(StubEngine):
    """An engine whose proposer may be missing; it counts the proposers that were started."""

    def __init__(self, *, missing: bool = False) -> None:
        super().__init__(0)
        self.missing = missing
        self.started = 0

    def proposer(self) -> Proposer:
        self.started += 1
        if self.missing:
            raise EngineError("YuNet's weights are missing")
        return super().proposer()


def searching(name: str) -> Parameters:
    return parameters.parse(EVERYWHERE.replace(b"<search>everywhere<", f"<search>{name}<".encode()))


def test_each_search_is_started_once_and_only_when_it_is_asked_for(astronaut: np.ndarray) -> None:
    engine = Proposing()
    pipeline = Pipeline(searching("everywhere"), engine)
    assert pipeline.default_search == "everywhere"
    pipeline.detect(astronaut)
    assert engine.started == 0
    assert pipeline.search("guided") is pipeline.search("guided") is not pipeline.search()
    pipeline.detect(astronaut, search="guided")
    pipeline.decode(large(astronaut), search="guided")
    assert engine.started == 1


@pytest.mark.usefixtures("yunet_weights")
def test_an_image_is_searched_as_it_is_asked_for_whatever_the_default(
    astronaut_jpeg: bytes, pipeline: Pipeline
) -> None:
    guided_parameters = replace(
        pipeline.parameters, detection=replace(pipeline.parameters.detection, search="guided")
    )
    guided = Pipeline(guided_parameters, pipeline.engine)
    for one, other in ((pipeline, guided), (guided, pipeline)):
        expected = one.detect(astronaut_jpeg)
        found = other.detect(astronaut_jpeg, search=one.default_search)
        for field in fields(Faces):
            np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))
        assert other.fingerprint_of(one.default_search) == one.fingerprint
    assert pipeline.fingerprint != guided.fingerprint


@pytest.mark.usefixtures("yunet_weights")
def test_a_picture_is_reduced_no_further_than_its_search_allows(
    astronaut: np.ndarray, reducing: Pipeline
) -> None:
    data = large(astronaut)
    assert reducing.decode(data).pixels.shape == (512, 501, 3)
    assert reducing.decode(data, search="guided").pixels.shape == (2047, 2001, 3)


@pytest.mark.parametrize("name", ["", "everywhere"])
def test_a_search_without_a_name_is_the_default(name: str) -> None:
    pipeline = Pipeline(searching("everywhere"), Proposing())
    assert pipeline.search(name) is pipeline.search("everywhere")


@pytest.mark.parametrize("name", ["auto", "Guided", "adaptive", " "])
def test_a_search_that_there_is_not_is_an_error_that_names_the_searches(
    name: str, astronaut: np.ndarray
) -> None:
    pipeline = Pipeline(searching("everywhere"), Proposing())
    with pytest.raises(ValueError, match=f"one of everywhere, guided, most, not {name!r}"):
        pipeline.detect(astronaut, search=name)


def test_auto_is_the_usual_search_and_where_that_cannot_run_everywhere_and_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert Pipeline(searching("auto"), Proposing()).default_search == AUTOMATIC
    monkeypatch.setattr("pyraface.core.pipeline.AUTOMATIC", "guided")
    assert Pipeline(searching("auto"), Proposing()).default_search == "guided"
    assert not caplog.messages
    without = Pipeline(searching("auto"), Proposing(missing=True))
    assert without.default_search == "everywhere"
    assert caplog.messages == [
        "images are searched everywhere, because guided cannot run: YuNet's weights are missing"
    ]
    assert without.fingerprint == Pipeline(searching("everywhere"), Proposing()).fingerprint


def test_a_search_that_was_named_and_cannot_run_is_an_error(astronaut: np.ndarray) -> None:
    with pytest.raises(EngineError, match="YuNet's weights are missing"):
        Pipeline(searching("guided"), Proposing(missing=True))
    pipeline = Pipeline(searching("everywhere"), Proposing(missing=True))
    with pytest.raises(EngineError, match="YuNet's weights are missing"):
        pipeline.detect(astronaut, search="guided")


def test_the_error_of_a_file_names_it_and_the_package_that_reads_it(
    tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "_installed", lambda _: False)
    file = tmp_path / "IMG_1.jxl"
    file.write_bytes(b"\xff\x0a" + bytes(40))
    with pytest.raises(
        FormatNotReadError, match=r"IMG_1\.jxl: a JPEG XL is read where imagecodecs"
    ) as raised:
        pipeline.detect(file)
    assert (raised.value.package, raised.value.elsewhere) == ("imagecodecs", True)

"""Every form in which an image may be passed finds the same faces: through a real daemon, and in this process."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pyraface import Pipeline
from pyraface.client import Client, Result, detect_faces, map_faces
from pyraface.core import parameters
from pyraface.core.errors import ErrorCode, ImageError
from pyraface.core.faces import Faces
from tests.support import daemon, parameters_xml, run

SETTINGS = parameters.parse(parameters_xml().encode())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with daemon(tmp_path_factory.mktemp("daemon")) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(SETTINGS)


@pytest.fixture(scope="module")
def png(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """A file whose EXIF says that it is to be turned: what is passed as a file is, what is passed as pixels is not."""
    path, exif = tmp_path_factory.mktemp("photographs") / "astronaut.png", Image.Exif()
    exif[0x0112] = 1
    Image.fromarray(astronaut).save(path, exif=exif)
    return path


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


FORMS: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "str": str,
    "bytes": Path.read_bytes,
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "file": lambda path: io.BytesIO(path.read_bytes()),
    "array": pixels,
    "array turned about": lambda path: np.ascontiguousarray(pixels(path)[::-1, :, ::-1])[::-1, :, ::-1],
    "PIL image": lambda path: Image.fromarray(pixels(path)),
    "opened PIL image": Image.open,
}


def assert_same(found: Faces, expected: Faces) -> None:
    assert len(found) == len(expected) == 1
    assert list(found) == list(expected)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_finds_the_same_faces_in_this_process_and_through_a_server(
    form: Callable[[Path], Any], place: str, pipeline: Pipeline, png: Path
) -> None:
    expected = pipeline.find(pipeline.decode(png.read_bytes()))
    assert_same(pipeline.detect(form(png)), expected)
    result = detect_faces(form(png), servers=place, parameters=SETTINGS)
    assert_same(result.faces, expected)
    assert (result.width, result.height) == (512, 512)


def test_many_images_of_every_form_have_their_results_in_order(place: str, png: Path) -> None:
    images = [form(png) for form in FORMS.values()]
    found = list(map_faces(images, servers=place, parameters=SETTINGS, ordered=True))
    assert [len(result.faces) for result in found] == [1] * len(FORMS)
    assert [result.path for result in found] == [str(png)] * 2 + [""] * (len(FORMS) - 2)
    assert [result.digest is None for result in found] == [False] * 5 + [True] * 4

    async def talk() -> list[Result]:
        async with Client(place, parameters=SETTINGS) as client:
            return [result async for result in client.map(iter(images[5:]), ordered=True)]

    assert [len(result.faces) for result in run(talk())] == [1] * 4


def test_a_stack_of_arrays_is_many_images(place: str, astronaut: np.ndarray) -> None:
    stack = np.stack([astronaut, np.zeros_like(astronaut)])
    found = list(map_faces(stack, servers=place, parameters=SETTINGS, ordered=True))
    assert [len(result.faces) for result in found] == [1, 0]


def test_what_is_no_image_is_a_type_error_of_the_call_itself(png: Path) -> None:
    nowhere = "127.0.0.1:1"  # no server is asked
    with pytest.raises(TypeError, match="not int"):
        detect_faces(3, servers=nowhere, parameters=SETTINGS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"not one image \(str\)"):
        map_faces("a string", servers=nowhere, parameters=SETTINGS)
    with pytest.raises(TypeError, match="not NoneType"):
        map_faces([png, None], servers=nowhere, parameters=SETTINGS)  # type: ignore[list-item]
    client = Client(nowhere, parameters=SETTINGS)
    with pytest.raises(TypeError, match="not float"):
        client.detect(1.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"not one image \(bytes\)"):
        client.map(b"abc")  # type: ignore[arg-type]


def test_a_wrong_image_of_an_iterator_comes_after_the_results_before_it(place: str, png: Path) -> None:
    results = map_faces(iter([png, 3]), servers=place, parameters=SETTINGS)  # type: ignore[list-item]
    assert len(next(results).faces) == 1
    with pytest.raises(TypeError, match="not int"):
        next(results)

    async def images() -> Any:
        yield png
        yield 3

    async def talk() -> None:
        async with Client(place, parameters=SETTINGS) as client:
            results = client.map(images())
            assert len((await anext(results)).faces) == 1
            with pytest.raises(TypeError, match="not int"):
                await anext(results)

    run(talk())


def test_what_cannot_be_read_is_a_result_of_a_client_and_an_error_that_names_the_file_in_this_process(
    place: str, pipeline: Pipeline, tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(astronaut_jpeg[:20_000])

    class Failing:
        def read(self) -> bytes:
            raise OSError(5, "Input/output error")

    codes = []
    with Image.open(broken) as opened:
        for image in (opened, broken, Failing()):
            result = detect_faces(image, servers=place, parameters=SETTINGS)
            assert result.error is not None
            codes.append(result.error[0])
    assert codes == [ErrorCode.IMAGE_TRUNCATED, ErrorCode.IMAGE_TRUNCATED, ErrorCode.UNREADABLE]
    with pytest.raises(ImageError, match=r"broken\.jpg: a JPEG that is truncated"):
        pipeline.detect(broken)
    with pytest.raises(FileNotFoundError, match=r"nothing\.jpg"):
        pipeline.detect(tmp_path / "nothing.jpg")
    with pytest.raises(TypeError, match="not int"):
        pipeline.detect(3)  # type: ignore[arg-type]

"""Local daemon: the parameters of the program that starts it, changed by the program or not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyraface.client import Client, Result, detect_faces
from pyraface.core import parameters
from pyraface.core.errors import ErrorCode, ParametersError
from pyraface.core.parameters import Parameters
from pyraface.core.pipeline import Pipeline
from tests.support import parameters_xml, run

READ = parameters.parse(parameters_xml(search="everywhere").encode())
"""Parameters with which the face of the astronaut is found."""


def changed(section: str, **values: object) -> Parameters:
    return replace(READ, **{section: replace(getattr(READ, section), **values)})


def asked(image: bytes, settings: Parameters, *, search: str = "") -> Result:
    async def talk() -> Result:
        async with Client("local", parameters=settings, search=search) as client:
            return await client.detect(image)

    return run(talk())


def test_a_parameter_that_a_program_changes_counts_in_the_child_daemon_as_in_a_pipeline(
    astronaut_jpeg: bytes,
) -> None:
    strict = changed("detection", threshold=2.0)
    assert len(asked(astronaut_jpeg, READ).faces) == 1
    assert len(asked(astronaut_jpeg, strict).faces) == 0
    assert len(detect_faces(astronaut_jpeg, servers="local", parameters=strict).faces) == 0
    assert len(Pipeline(strict, "onnx").detect(astronaut_jpeg)) == 0


def test_every_section_that_a_program_changes_reaches_the_child_daemon(astronaut_jpeg: bytes) -> None:
    pixels = 512 * 512
    assert asked(astronaut_jpeg, changed("images", max_pixels=pixels)).error is None
    too_large = asked(astronaut_jpeg, changed("images", max_pixels=pixels - 1))
    assert too_large.error is not None
    assert too_large.error[0] is ErrorCode.IMAGE_TOO_LARGE
    poor = asked(astronaut_jpeg, changed("encoding", least_confidence=2.0))
    assert poor.faces.comparable.tolist() == [False]


def test_a_search_that_is_asked_for_is_the_child_daemons_default(astronaut_jpeg: bytes) -> None:
    usual = changed("detection", search="guided")
    assert (
        asked(astronaut_jpeg, usual, search="everywhere").fingerprint
        == asked(astronaut_jpeg, READ).fingerprint
    )


def test_a_value_that_is_not_allowed_is_an_error_before_a_child_daemon_is_started(
    astronaut_jpeg: bytes,
) -> None:
    with pytest.raises(ParametersError, match="params/tiled_detect_params/height is 5; it must be a whole"):
        detect_faces(astronaut_jpeg, servers="local", parameters=changed("detection", height=5))

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pyraface.core import parameters
from pyraface.core.engines import EngineOptions
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("option", "value"), [("threads", -1), ("jitters", 0), ("landmarks", 6), ("landmarks", 0)]
)
def test_an_option_out_of_its_range_is_refused(option: str, value: int) -> None:
    changed: dict[str, Any] = {option: value}
    with pytest.raises(ValueError, match=f"{option} must be .*, not {value}"):
        EngineOptions(**changed)


def test_the_default_options_are_those_of_the_packaged_parameters() -> None:
    packaged = parameters.parse((ROOT / "parameters.xml").read_bytes())
    made = EngineOptions.from_parameters(packaged.detection, packaged.encoding, threads=0)
    assert made == EngineOptions()


def test_every_option_comes_from_the_parameters() -> None:
    packaged = parameters.parse((ROOT / "parameters.xml").read_bytes())
    detection = replace(packaged.detection, threshold=0.5, screening=False, height=300)
    encoding = replace(packaged.encoding, jitters=3, landmarks=68)
    made = EngineOptions.from_parameters(detection, encoding, threads=2)
    assert made == EngineOptions(
        threads=2,
        threshold=0.5,
        screened=False,
        tile_pixels=300 * 400 * 16,
        jitters=3,
        landmarks=68,
    )

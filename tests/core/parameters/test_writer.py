"""Writer: what it writes is read as the same parameters, and values that no file may hold are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyraface.core.errors import ParametersError
from pyraface.core.parameters import Parameters, as_xml, parse
from pyraface.core.parameters.schema import described
from pyraface.core.parameters.values import Choice, Flag, Interfaces, Number, Text, Value, Whole

SMALLEST = {"height": 16, "doubtful_overlap": 0.0}
"""Values with which a section's other values, whatever they are, go together."""

PRINTABLE = st.text(max_size=64).map(lambda text: "".join(filter(str.isprintable, text)).strip())
INTERFACES = st.lists(st.from_regex(r"[!-+\--.0-9;-~]{1,15}", fullmatch=True), max_size=64, unique=True)


def values_of(value: Value) -> st.SearchStrategy[Any]:
    match value:
        case Whole():
            return st.integers(value.low, value.high)
        case Number():
            return st.floats(value.low, value.high)
        case Flag():
            return st.booleans()
        case Choice():
            return st.sampled_from(value.options)
        case Text():
            return PRINTABLE | st.just("<&> \"'")
        case Interfaces():
            return INTERFACES.map(lambda names: tuple(name for name in names if name != "auto"))
    raise AssertionError(f"a kind of value without a strategy: {value}")


@st.composite
def made_parameters(draw: st.DrawFn) -> Parameters:
    """Any parameters that a file may hold."""
    sections = {}
    for section_name, item in described(Parameters):
        section = item.kind(**{name: draw(values_of(value)) for name, value in described(item.kind)})
        if section.problem():
            smallest = {name: value for name, value in SMALLEST.items() if hasattr(section, name)}
            section = replace(section, **smallest)
        assert section.problem() is None
        sections[section_name] = section
    return Parameters(source="made", stated=frozenset(), **sections)


@given(made_parameters())
def test_written_parameters_are_read_as_the_same_parameters(made: Parameters) -> None:
    read = parse(as_xml(made))
    assert read == made
    # each element is there: another version's defaults would not matter
    assert read.stated == {
        f"{item.name}/{value.name}" for _, item in described(Parameters) for _, value in described(item.kind)
    }


PACKAGED = parse(b"""<params><tiled_detect_params><upsample>2</upsample><height>600</height><width>400</width>
</tiled_detect_params><ports><server_port_image_handle>5000</server_port_image_handle>
<server_port_ip_disc>5001</server_port_ip_disc></ports>
<timeout><connect_timeout>5</connect_timeout><read_timeout>60</read_timeout></timeout></params>""")


def changed(section: str, **values: object) -> Parameters:
    return replace(PACKAGED, **{section: replace(getattr(PACKAGED, section), **values)})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            changed("detection", height=5),
            "tiled_detect_params/height is 5; it must be a whole number from 16",
        ),
        (changed("detection", height=600.0), "tiled_detect_params/height is 600.0; it must be a whole"),
        (changed("detection", height=None), "tiled_detect_params/height is None; it must be a whole number"),
        (
            changed("detection", threshold=float("nan")),
            "tiled_detect_params/threshold is nan; it must be a number",
        ),
        (
            changed("detection", search="best"),
            "tiled_detect_params/search is 'best'; it must be auto or every",
        ),
        (changed("detection", screening=2), "tiled_detect_params/screening is 2; it must be 0 or 1"),
        (changed("detection", upsample=4, height=20000), "tiled_detect_params asks for tiles of 2048.0 Mpx"),
        (changed("fusion", doubtful_overlap=0.6), "fusion has doubtful_overlap 0.6 above same_overlap 0.5"),
        (changed("encoding", landmarks="5"), "encoding/landmarks is '5'; it must be 5 or 68"),
        (changed("beacon", interfaces="lo"), "beacon/interfaces is 'lo'; it must be auto, or up to 64 names"),
        (
            changed("beacon", interfaces=("auto",)),
            "beacon/interfaces is ('auto',); it must be auto, or up to",
        ),
        (changed("beacon", interfaces=(5,)), "beacon/interfaces is (5,); it must be auto, or up to 64 names"),
        (
            changed("beacon", name="a\nb"),
            r"beacon/name is 'a\nb'; it must be at most 64 printable characters",
        ),
        (changed("beacon", name=" a"), "beacon/name is ' a'; it must be at most 64 printable characters"),
        (changed("beacon", name="\ud800"), r"beacon/name is '\ud800'; it must be at most 64 printable"),
    ],
)
def test_a_value_that_no_file_may_hold_is_refused_by_its_name(parameters: Parameters, message: str) -> None:
    with pytest.raises(ParametersError) as caught:
        as_xml(parameters)
    assert str(caught.value).startswith(f"parameters: params/{message}")


def test_numbers_of_numpy_are_written_as_numbers() -> None:
    of_numpy = changed("detection", height=np.int64(300), threshold=np.float64(0.25))
    assert parse(as_xml(of_numpy)) == changed("detection", height=300, threshold=0.25)

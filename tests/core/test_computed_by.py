"""What computed a result: the line's round trip, and the values by which it is found."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyraface.client.outputs.formats.json_lines import JsonLines
from pyraface.core.computed_by import ComputedBy
from pyraface.core.faces import Faces
from pyraface.core.pages import Page
from pyraface.core.protocol.messages import Found
from pyraface.core.results import Result

ORIN = ComputedBy("dlib", "cuda, Orin", "0.1.0, dlib 19.24.6")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.builds(ComputedBy, texts, texts, texts)


@given(names)
def test_it_is_read_back_from_a_line_as_it_was_written(computed_by: ComputedBy) -> None:
    answer = Found(1, Faces.empty(), (Page(0, 300, 200, 1),), (), (), 1, 0.5)
    result = Result("a.jpg", None, 3, 7).answered("attic", "0123456789abcdef", computed_by, answer)
    head = JsonLines().head(JsonLines().encode(result.as_json()))
    assert head.origin == ("0123456789abcdef", computed_by)
    assert JsonLines().decode(JsonLines().encode(result.as_json()))["computed_by"] == computed_by.as_json()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["engine", "device", "version", "x"]), inner)
    ),
    max_leaves=6,
)


@given(json_values)
def test_any_other_value_in_a_line_is_no_origin_and_no_error(value: object) -> None:
    found = ComputedBy.from_json(value)
    texts = isinstance(value, dict) and [value.get(key) for key in ("engine", "device", "version")]
    if texts and all(isinstance(text, str) for text in texts):
        assert found is not None
        assert [found.engine, found.device, found.version] == texts
    else:
        assert found is None
    line = json.dumps({"path": "a", "digest": None, "fingerprint": "f", "computed_by": value, "faces": []})
    assert JsonLines().head(line.encode() + b"\n").origin == ("f", found)


@pytest.mark.parametrize(
    "value", ["dlib", "DLIB", "cuda", "orin", "cuda, Orin", "0.1.0", "dlib 19.24.6", "0.1.0, dlib 19.24.6"]
)
def test_it_is_found_by_its_engine_its_device_its_version_or_a_part_between_commas(value: str) -> None:
    assert ORIN.has(value)


@pytest.mark.parametrize(
    "value", ["", " ", "dli", "19.24.6", "0.1", "cuda,", "Orin, dlib", "cpu", "onnx", "dlib "]
)
def test_it_is_not_found_by_less_or_more_than_that(value: str) -> None:
    assert not ORIN.has(value)


@given(names)
def test_each_whole_value_and_each_part_finds_it(computed_by: ComputedBy) -> None:
    for text in (computed_by.engine, computed_by.device, computed_by.version):
        assert computed_by.has(text)
        assert all(computed_by.has(part) for part in text.split(", "))

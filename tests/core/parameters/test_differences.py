"""Differences: parameters by which other faces are found are named, and no others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyraface.core.parameters import Parameters, declaration, differences
from pyraface.core.parameters.differences import FINDING
from pyraface.core.parameters.schema import described

DEFAULTS = Parameters.defaults()


def changed(**values: object) -> Parameters:
    """The defaults with values changed by their Python names, which occur once in the sections that matter."""
    parameters = DEFAULTS
    for name, value in values.items():
        section = next(one for one in FINDING if hasattr(getattr(DEFAULTS, one), name))
        parameters = replace(parameters, **{section: replace(getattr(parameters, section), **{name: value})})
    return parameters


def found(
    there: Parameters, here: Parameters = DEFAULTS, *, search: str = "", faces_from: int = 0
) -> list[str]:
    unlike = differences(declaration(there), declaration(here), search=search, faces_from=faces_from)
    return [f"{element} {theirs} ({ours})" for element, theirs, ours in unlike]


def test_a_declaration_has_every_parameter_of_the_sections_that_matter_once() -> None:
    paths = [entry.partition("=")[0] for entry in declaration(DEFAULTS)]
    assert paths == [
        f"{item.name}/{element.name}"
        for section, item in described(Parameters)
        if section in FINDING
        for _, element in described(item.kind)
    ]


def test_equal_parameters_do_not_differ() -> None:
    assert found(DEFAULTS) == []
    assert found(changed(levels=3), changed(levels=3)) == []


def test_an_automatic_search_is_declared_as_the_one_for_which_it_stands() -> None:
    assert "tiled_detect_params/search=guided" in declaration(DEFAULTS)
    assert "tiled_detect_params/search=everywhere" in declaration(DEFAULTS, automatic="everywhere")
    assert "tiled_detect_params/search=most" in declaration(changed(search="most"), automatic="everywhere")
    assert found(changed(search="guided")) == []


@pytest.mark.parametrize(
    ("there", "search", "faces_from", "expected"),
    [
        ({"levels": 1}, "", 0, ["levels 1 (2)"]),
        ({"levels": 1}, "", 20, []),  # the size that is asked for decides
        ({"most_tiles": 21}, "", 0, []),
        ({"most_tiles": 21}, "", 20, ["most_tiles 21 (85)"]),
        ({"height": 400, "width": 600}, "", 0, []),  # the same product
        ({"height": 300}, "", 0, ["height 300 (600)"]),
        ({"height": 300, "width": 200, "upsample": 3}, "", 20, []),  # the same pixels of a zoomed tile
        (
            {"height": 300, "width": 200, "upsample": 3},
            "",
            0,
            ["height 300 (600)", "width 200 (400)", "upsample 3 (2)"],
        ),
        ({"threshold": 0.5}, "", 0, ["threshold 0.5 (0.0)"]),
        ({"guided_threshold": 0.5}, "", 0, ["guided_threshold 0.5 (-0.7)"]),
        ({"guided_threshold": 0.5}, "everywhere", 0, []),
        ({"guided_threshold": 0.5}, "most", 0, ["guided_threshold 0.5 (-0.7)"]),
        ({"screening": False}, "", 0, []),  # the same faces, later
        ({"reduced_decoding": True}, "", 0, ["reduced_decoding 1 (0)"]),
        ({"search": "everywhere"}, "", 0, ["search everywhere (guided)"]),
        ({"search": "everywhere"}, "most", 0, []),
        ({"same_overlap": 0.6}, "", 0, ["same_overlap 0.6 (0.5)"]),
        ({"jitters": 3, "landmarks": 68}, "", 0, ["jitters 3 (1)", "landmarks 68 (5)"]),
        ({"least_size": 10}, "", 0, ["least_size 10 (25)"]),
    ],
)
def test_a_parameter_is_named_where_it_matters(
    there: dict[str, object], search: str, faces_from: int, expected: list[str]
) -> None:
    assert found(changed(**there), search=search, faces_from=faces_from) == expected


def test_sections_in_which_no_face_is_found_or_lost_are_not_declared() -> None:
    other = replace(
        DEFAULTS,
        images=replace(DEFAULTS.images, max_pixels=1),
        timeouts=replace(DEFAULTS.timeouts, image=1.0),
        daemon=replace(DEFAULTS.daemon, credits=1),
        beacon=replace(DEFAULTS.beacon, name="attic"),
    )
    assert declaration(other) == declaration(DEFAULTS)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "=",
        "levels",
        "levels=1",
        "tiled_detect_params/levels",
        "tiled_detect_params/levels=",
        "tiled_detect_params/levels=6",
        "tiled_detect_params/upsample=" + "9" * 900,  # a power of four that no memory holds
        "tiled_detect_params/levels=\x1b[2J",
        "ports/server_port_image_handle=1",
        "x" * 1000,
    ],
)
def test_an_entry_that_no_server_of_ours_declares_is_left_out(entry: str) -> None:
    declared = declaration(DEFAULTS)
    others = [one for one in declared if "levels" not in one and "upsample" not in one]
    assert differences((entry, *others), declared) == []
    assert differences((entry,), declared, faces_from=20) == []
    assert differences((), (entry,)) == []

"""Comparison: one line about a server whose parameters find other faces, and none about any other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyraface.client.pool.parameters_comparison import MOST_NAMED, Comparison
from pyraface.core.parameters import DetectionParameters, EncodingParameters, Parameters, declaration
from pyraface.core.protocol.messages import Welcome

DEFAULTS = Parameters.defaults()
A_FILE = replace(DEFAULTS, stated=frozenset({"ports/server_port_ip_disc"}))
FEW_LEVELS = replace(DEFAULTS, detection=DetectionParameters(levels=1))


def welcome(parameters: Parameters, *, software: str = "0.1.0") -> Welcome:
    usual = parameters.detection.search.replace("auto", "guided")
    searches = (usual, *(name for name in ("everywhere", "guided", "most") if name != usual))
    prints = tuple(f"{name} {software} {parameters.detection} {parameters.encoding}" for name in searches)
    return Welcome(
        1,
        "n",
        "i",
        "onnx",
        "cpu",
        "cpu",
        software,
        prints[0],
        searches,
        prints,
        1 << 20,
        1 << 20,
        4,
        0.0,
        declaration(parameters),
    )


def lines(
    here: Parameters, *servers: Welcome, search: str = "", faces_from: int = 0, child: bool = False
) -> list[str]:
    comparison = Comparison(here, search=search, faces_from=faces_from)
    names = ("attic", "cellar", "garage")
    return [
        line
        for name, server in zip(names, servers, strict=False)
        for line in comparison.lines(name, server, child=child)
    ]


@pytest.mark.parametrize(
    "here", [A_FILE, FEW_LEVELS], ids=["a file that states them", "a program that changed them"]
)
def test_parameters_that_are_set_are_compared_with_those_of_each_server(here: Parameters) -> None:
    two = replace(DEFAULTS, detection=DetectionParameters(levels=3, threshold=0.5))
    ours = here.detection.levels
    assert lines(here, welcome(two), welcome(here)) == [
        "server attic finds faces by other parameters than those here: "
        f"levels 3 (here {ours}), threshold 0.5 (here 0.0)",
        # the others are compared with the first, too
        f"server cellar finds faces by other parameters than attic: levels {ours} (there 3), threshold 0.0 (there 0.5)",
    ]


def test_the_packaged_parameters_are_compared_with_no_server_but_servers_with_each_other() -> None:
    assert lines(DEFAULTS, welcome(FEW_LEVELS), welcome(FEW_LEVELS)) == []
    assert lines(DEFAULTS, welcome(DEFAULTS), welcome(DEFAULTS), welcome(FEW_LEVELS)) == [
        "server garage finds faces by other parameters than attic: levels 1 (there 2)"
    ]


def test_the_child_daemon_has_the_parameters_of_its_program() -> None:
    assert lines(A_FILE, welcome(FEW_LEVELS), child=True) == []


def test_a_search_that_differs_comes_with_the_option_that_makes_it_alike() -> None:
    everywhere = replace(DEFAULTS, detection=DetectionParameters(search="everywhere"))
    assert lines(A_FILE, welcome(everywhere)) == [
        "server attic finds faces by other parameters than those here: search everywhere (here guided); "
        "--search guided makes the searches alike"
    ]
    assert lines(A_FILE, welcome(everywhere), search="guided") == []
    assert lines(DEFAULTS, welcome(everywhere), welcome(DEFAULTS)) == [
        "server cellar does the search guided, and attic everywhere: their faces differ; "
        "--search everywhere makes them alike"
    ]


def test_a_server_that_comes_back_is_named_once() -> None:
    comparison = Comparison(A_FILE, search="", faces_from=0)
    assert len(comparison.lines("attic", welcome(FEW_LEVELS), child=False)) == 1
    assert comparison.lines("attic", welcome(FEW_LEVELS), child=False) == []


def test_a_line_names_a_few_of_many_differences() -> None:
    another = replace(
        DEFAULTS,
        detection=DetectionParameters(300, 200, 1, 1, 20, 0.1),
        encoding=EncodingParameters(2, 68, 10, 0.1, 0.1, 0.1),
    )
    [line] = lines(A_FILE, welcome(another))
    assert line.count("(here ") == MOST_NAMED
    assert line.endswith(" and 5 more")


def test_servers_with_equal_parameters_that_search_in_another_way_are_told_apart_by_their_version() -> None:
    assert lines(DEFAULTS, welcome(DEFAULTS), welcome(DEFAULTS, software="0.2.0")) == [
        "server cellar has another pyraface (0.2.0) than attic (0.1.0): its faces may differ"
    ]


def test_servers_whose_fingerprints_differ_by_parameters_without_effect_are_alike() -> None:
    turned = replace(DEFAULTS, detection=DetectionParameters(400, 600))
    one, two = welcome(DEFAULTS), welcome(turned)
    assert one.fingerprint != two.fingerprint
    assert lines(DEFAULTS, one, two) == []

"""Fingerprint: what changes it, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyraface.core import fingerprints, parameters
from pyraface.core.engines.network import yunet
from pyraface.core.parameters import SEARCHES, Parameters, SearchName
from tests.support import ROOT

XML = (ROOT / "parameters.xml").read_bytes()


def of(search: SearchName, set_so: Parameters) -> str:
    return fingerprints.of(search, set_so.detection, set_so.fusion, set_so.encoding)


def changed(old: bytes, new: bytes) -> Parameters:
    assert XML.count(old) == 1
    return parameters.parse(XML.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"<levels>2", b"<levels>2", ("acb34c7f23ee1898", "e8805a59488ce809", "b12ffed646d1353e")),
        (
            b"<threshold>0<",
            b"<threshold>-0.25<",
            ("30d3d27cbc8b6214", "a4fbbc4a62dc4519", "a2f69e277534ba4e"),
        ),
        (b"<landmarks>5<", b"<landmarks>68<", ("5155489c37753ae2", "3deff3d4ab13e877", "629feaaf2b4f0616")),
    ],
)
def test_the_fingerprint_of_a_search_and_its_parameters_stays_the_same(
    old: bytes, new: bytes, expected: tuple[str, str, str]
) -> None:
    """Output files and servers of other versions hold it: a new one would have every archive searched again."""
    set_so = changed(old, new)
    assert tuple(of(search, set_so) for search in SEARCHES) == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<upsample>2<", b"<upsample>1<"),
        (b"<levels>2<", b"<levels>1<"),
        (b"<height>600<", b"<height>500<"),
        (b"<threshold>0<", b"<threshold>0.1<"),
        (b"<reduced_decoding>0<", b"<reduced_decoding>1<"),
        (b"<same_overlap>0.5<", b"<same_overlap>0.6<"),
        (b"<jitters>1<", b"<jitters>2<"),
        (b"<landmarks>5<", b"<landmarks>68<"),
        (b"<least_size>25<", b"<least_size>26<"),
    ],
)
def test_whatever_changes_the_faces_changes_it_with_every_search(old: bytes, new: bytes) -> None:
    before, after = parameters.parse(XML), changed(old, new)
    for search in SEARCHES:
        assert of(search, before) != of(search, after)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<screening>1<", b"<screening>0<"),
        (b"<engine_threads>0<", b"<engine_threads>3<"),
        (b"<search>auto<", b"<search>most<"),
        (b"<max_pixels>200000000<", b"<max_pixels>1000000<"),
        (b"<credits>4<", b"<credits>5<"),
    ],
)
def test_whatever_changes_only_the_way_to_the_faces_does_not_change_it(old: bytes, new: bytes) -> None:
    before, after = parameters.parse(XML), changed(old, new)
    for search in SEARCHES:
        assert of(search, before) == of(search, after)


def test_the_searches_differ_and_the_threshold_of_the_guided_ones_is_theirs_alone() -> None:
    before, after = parameters.parse(XML), changed(b"<guided_threshold>-0.7<", b"<guided_threshold>-0.6<")
    assert len({of(search, before) for search in SEARCHES}) == 3
    assert [of(search, before) == of(search, after) for search in SEARCHES] == [True, False, False]


def test_other_weights_of_the_proposer_change_the_searches_that_it_guides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_so = parameters.parse(XML)
    before = [of(search, set_so) for search in SEARCHES]
    monkeypatch.setattr(yunet, "WEIGHTS_SHA256", "another")
    after = [of(search, set_so) for search in SEARCHES]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, False]


def test_another_way_of_searching_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    set_so = parameters.parse(XML)
    before = of("everywhere", set_so)
    monkeypatch.setattr(fingerprints, "REVISION", fingerprints.REVISION + 1)
    assert of("everywhere", set_so) != before


def test_the_smallest_face_wanted_belongs_to_it() -> None:
    assert fingerprints.from_size("0123", 0) == "0123"
    assert fingerprints.from_size("0123", 30) == "0123-from-30"


def test_of_height_and_width_only_the_product_counts() -> None:
    turned = parameters.parse(
        XML.replace(b"<height>600<", b"<height>400<").replace(b"<width>400<", b"<width>600<")
    )
    assert turned.detection.height == 400
    assert of("guided", turned) == of("guided", parameters.parse(XML))


def test_equal_parameters_written_in_another_way_have_the_same_one() -> None:
    before, after = parameters.parse(XML), changed(b"<same_overlap>0.5<", b"<same_overlap>.50<")
    assert of("guided", before) == of("guided", replace(after))

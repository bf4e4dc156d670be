"""Former fingerprints: lines written before `computed_by` stand where the search and the parameters are the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyraface.core import fingerprints, parameters
from pyraface.core.former_fingerprints import WithFormer, former
from pyraface.core.parameters import SEARCHES, Parameters, SearchName
from tests.support import ROOT

PACKAGED = parameters.parse((ROOT / "parameters.xml").read_bytes())

WRITTEN: dict[SearchName, tuple[str, ...]] = {
    "everywhere": ("abeec3d3c0fb3dd9", "c7ffa952b81c42c8", "2b24e2431e072884", "b4e06f98a15cada1"),
    "guided": ("07aa8a388afa41fe", "acaf0a6a7b50b047", "b7bc0739d9342031", "d6d107cc375956bf"),
    "most": ("19357b5410a1db57", "6152dbda10b21839", "40a217a4cceea28f", "5a47faed18d625a5"),
}
"""Fingerprints that pyraface wrote with the packaged parameters before the change, with dlib 20.0.1 and onnxruntime 1.32.0:
onnx with screening and without, dlib with screening and without."""


def with_former(current: set[str], set_so: Parameters = PACKAGED, *, faces_from: int = 0) -> WithFormer:
    return WithFormer(current, set_so.detection, set_so.fusion, set_so.encoding, faces_from=faces_from)


def of(search: SearchName, set_so: Parameters = PACKAGED) -> str:
    return fingerprints.of(search, set_so.detection, set_so.fusion, set_so.encoding)


@pytest.mark.parametrize("search", SEARCHES)
def test_each_fingerprint_that_was_written_is_one_of_its_search(search: SearchName) -> None:
    found = former(search, PACKAGED.detection, PACKAGED.fusion, PACKAGED.encoding)
    assert set(WRITTEN[search]) <= found
    for other in SEARCHES:
        assert other == search or found.isdisjoint(WRITTEN[other])


@pytest.mark.parametrize("search", SEARCHES)
def test_lines_of_the_search_stand_once_a_server_with_these_parameters_does_it(search: SearchName) -> None:
    current: set[str] = set()
    stands = with_former(current)
    assert WRITTEN[search][0] not in stands
    current.add(of(search))
    assert of(search) in stands
    for other in SEARCHES:
        assert all((fingerprint in stands) is (other == search) for fingerprint in WRITTEN[other])


def test_lines_of_other_parameters_do_not_stand() -> None:
    stricter = replace(PACKAGED, detection=replace(PACKAGED.detection, threshold=0.1))
    stands = with_former({of("everywhere", stricter)}, stricter)
    assert not any(fingerprint in stands for fingerprint in WRITTEN["everywhere"])
    # nor where the server's parameters are not those of this machine
    assert not any(
        fingerprint in with_former({of("everywhere", stricter)}) for fingerprint in WRITTEN["everywhere"]
    )


@pytest.mark.parametrize(
    ("asked", "size", "stand"),
    [(0, "", True), (0, "-from-30", False), (30, "", False), (30, "-from-30", True)],
)
def test_the_smallest_face_wanted_must_be_the_same(asked: int, size: str, stand: bool) -> None:
    stands = with_former({fingerprints.from_size(of("guided"), asked)}, faces_from=asked)
    assert (WRITTEN["guided"][0] + size in stands) is stand


@pytest.mark.parametrize("odd", ["", "0123456789abcdef", "-from-", "07aa8a388afa41fe-from-", None, 7])
def test_any_other_fingerprint_does_not_stand(odd: object) -> None:
    assert odd not in with_former({of("guided")})

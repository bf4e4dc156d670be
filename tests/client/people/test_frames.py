"""client/people/frames.py: a region lies where the face is, in whichever frame a program stored it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pyraface.client.people.frames import placed, turned
from pyraface.client.people.regions import Area, Areas, Box, PhotographSize, Region, Scheme

WIDTH, HEIGHT = 80, 60
FACE: Box = (8, 12, 28, 42)
"""In pixels of the upright picture."""

UPRIGHT: Box = (FACE[0] / WIDTH, FACE[1] / HEIGHT, FACE[2] / WIDTH, FACE[3] / HEIGHT)

BACK = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
"""The orientation that turns an upright picture into the stored one."""

ORIENTATIONS = range(1, 9)


def picture(orientation: int) -> PhotographSize:
    return PhotographSize(WIDTH, HEIGHT, orientation)


def stored(orientation: int) -> Box:
    """The face in shares of the stored frame."""
    return turned(UPRIGHT, BACK[orientation])


def area(box: Box, scheme: Scheme = "mwg", name: str = "Ada", **fields: object) -> Area:
    return Area(name, "Face", box, scheme, **fields)  # type: ignore[arg-type]


def only(orientation: int, *areas: Area) -> Region:
    [found] = placed(Areas(areas), picture(orientation)).regions
    return found


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_box_turns_as_pillow_turns_the_picture(orientation: int) -> None:
    stored_picture = picture(orientation).stored
    left, top, right, bottom = stored(orientation)
    pixels = np.zeros((stored_picture[1], stored_picture[0]), np.uint8)
    rows = slice(round(top * stored_picture[1]), round(bottom * stored_picture[1]))
    pixels[rows, round(left * stored_picture[0]) : round(right * stored_picture[0])] = 255
    exif = Image.Exif()
    exif[274] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", exif=exif)
    with Image.open(stream) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert upright.shape == (HEIGHT, WIDTH)
    ys, xs = np.nonzero(upright)
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == FACE


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_mwg_regions_turn_with_the_stored_picture(orientation: int) -> None:
    found = only(orientation, area(stored(orientation), size=picture(orientation).stored))
    assert found.box == pytest.approx(FACE)
    assert not found.guessed


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_mwg_regions_of_lightroom_are_stored_though_their_size_is_upright(orientation: int) -> None:
    found = only(orientation, area(stored(orientation), size=(WIDTH, HEIGHT)))
    assert found.box == pytest.approx(FACE)
    assert found.guessed


def test_mwg_regions_without_a_size_are_a_guess_where_the_picture_lies_on_its_side() -> None:
    assert [only(orientation, area(stored(orientation))).guessed for orientation in ORIENTATIONS] == [
        False
    ] * 4 + [True] * 4


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("scheme", ["microsoft", "picasa"])
def test_regions_of_microsoft_and_picasa_are_upright(scheme: Scheme, orientation: int) -> None:
    found = only(orientation, area(UPRIGHT, scheme))
    assert found.box == pytest.approx(FACE)
    assert found.guessed is (orientation != 1)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_two_schemes_that_differ_by_the_turn_are_one_region_and_certain(orientation: int) -> None:
    found = only(orientation, area(UPRIGHT, "microsoft"), area(stored(orientation), size=(WIDTH, HEIGHT)))
    assert (found.scheme, found.guessed) == ("mwg", False)
    assert found.box == pytest.approx(FACE)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_two_schemes_in_the_stored_frame_are_one_region(orientation: int) -> None:
    found = only(
        orientation,
        area(stored(orientation), "microsoft"),
        area(stored(orientation), size=picture(orientation).stored),
    )
    assert found.box == pytest.approx(FACE)


def test_a_size_of_another_resolution_changes_nothing() -> None:
    assert only(6, area(stored(6), size=(4 * HEIGHT, 4 * WIDTH))).box == pytest.approx(FACE)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("scale", [1, 4])
def test_pixels_are_those_of_the_size_that_is_stated(orientation: int, scale: int) -> None:
    width, height = (scale * side for side in picture(orientation).stored)
    left, top, right, bottom = stored(orientation)
    box = left * width, top * height, right * width, bottom * height
    assert only(orientation, area(box, pixels=True, size=(width, height))).box == pytest.approx(FACE)
    if scale == 1:
        assert only(orientation, area(box, pixels=True)).box == pytest.approx(FACE)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_pixels_of_an_upright_size_are_upright(orientation: int) -> None:
    found = only(orientation, area(FACE, pixels=True, size=(WIDTH, HEIGHT)))
    assert found.box == pytest.approx(FACE)
    assert found.guessed


def test_a_size_of_another_shape_is_named_and_makes_regions_a_guess() -> None:
    found = placed(Areas((area(UPRIGHT, size=(100, 30)),)), picture(1))
    assert found.problems == (
        "the regions were drawn in a picture of 100 x 30 pixels, which has another shape: this one may be cropped",
    )
    assert found.regions[0].guessed


def test_a_size_that_is_a_pixel_off_is_of_the_same_shape() -> None:
    assert placed(Areas((area(UPRIGHT, size=(7, 5)),)), PhotographSize(7, 6)).problems == ()


def test_a_region_is_cut_off_at_the_edges_and_one_outside_is_named() -> None:
    inside, outside = area((-0.5, -0.5, 0.5, 0.5)), area((1.0, 0.0, 1.5, 0.5), name="Bob")
    found = placed(Areas((inside, outside), ("before",)), picture(1))
    assert [region.box for region in found.regions] == [(0, 0, 40, 30)]
    assert found.problems == ("before", "the region 'Bob' lies outside the picture")


def test_people_without_a_place_are_passed_on() -> None:
    assert placed(Areas(unplaced=("Ada",)), picture(1)).unplaced == ("Ada",)


share = st.floats(-1e7, 1e7, allow_nan=False)
boxes = st.tuples(share, share, share, share).filter(lambda box: box[2] > box[0] and box[3] > box[1])
areas = st.builds(
    Area,
    st.sampled_from([None, "Ada", "Bob"]),
    st.sampled_from(["Face", "Pet"]),
    boxes,
    st.sampled_from(["mwg", "apple", "microsoft", "picasa"]),
    st.booleans(),
    st.none() | st.tuples(st.floats(1, 1e7), st.floats(1, 1e7)),
)


@given(
    st.lists(areas, max_size=6),
    st.builds(PhotographSize, st.integers(1, 65535), st.integers(1, 65535), st.integers(1, 8)),
)
def test_every_region_lies_inside_the_picture(found: list[Area], picture: PhotographSize) -> None:
    for region in placed(Areas(tuple(found)), picture).regions:
        left, top, right, bottom = region.box
        assert 0 <= left < right <= picture.width
        assert 0 <= top < bottom <= picture.height

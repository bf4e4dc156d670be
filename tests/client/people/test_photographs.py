"""client/people/photographs.py: regions inside photographs and beside them, and a line for each file that is not read."""

from __future__ import annotations

import csv
import io
import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pyraface.people
from pyraface.client.people.frames import turned
from pyraface.client.people.photographs import RegionReader
from pyraface.client.people.regions import PhotographSize, Regions
from pyraface.core import boxes as geometry
from tests.client.people.packets import microsoft, mwg, packet

WIDTH, HEIGHT = 64, 48
BOX = (0.25, 0.125, 0.5, 0.375)
IN_PIXELS = (16, 6, 32, 18)
PICASA = b"[Contacts2]\n1=Picasa's;;\n[photo.jpg]\nfaces=rect64(400020007fff6000),1\n"


def photograph(xmp: bytes | None = None) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT)).save(stream, "JPEG", **({} if xmp is None else {"xmp": xmp}))
    return stream.getvalue()


def named(name: str) -> bytes:
    return packet(mwg([(name, BOX)]))


def names(found: Regions) -> list[str | None]:
    return [region.name for region in found.regions]


def test_what_people_offers_is_what_the_modules_have() -> None:
    assert pyraface.people.RegionReader is RegionReader
    assert pyraface.people.Regions is Regions


def test_regions_inside_a_photograph_are_read(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(photograph(named("Ada")))
    found = RegionReader().read(path)
    assert found.problems == ()
    assert [(region.name, region.box) for region in found.regions] == [("Ada", IN_PIXELS)]


@pytest.mark.parametrize(
    "sidecar", ["photo.jpg.xmp", "photo.xmp", "photo.jpg.XMP", "photo.XMP", "PHOTO.xmp", "photo.JPG.xmp"]
)
def test_a_sidecar_is_found_in_each_way_of_naming_it(tmp_path: Path, sidecar: str) -> None:
    (tmp_path / "photo.jpg").write_bytes(photograph())
    (tmp_path / sidecar).write_bytes(named("Ada"))
    assert names(RegionReader().read(tmp_path / "photo.jpg")) == ["Ada"]


def test_photographs_whose_names_differ_in_case_have_their_own_sidecars(tmp_path: Path) -> None:
    for name in ("photo", "PHOTO"):
        (tmp_path / f"{name}.jpg").write_bytes(photograph())
        (tmp_path / f"{name}.xmp").write_bytes(named(name))
    reader = RegionReader()
    assert names(reader.read(tmp_path / "photo.jpg")) == ["photo"]
    assert names(reader.read(tmp_path / "PHOTO.jpg")) == ["PHOTO"]


def test_a_sidecar_of_another_photograph_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photograph())
    for other in ("photo2.xmp", "photo.png.xmp", "hoto.xmp", "photo.jpg.xmp.bak"):
        (tmp_path / other).write_bytes(named("Bob"))
    assert RegionReader().read(tmp_path / "photo.jpg") == Regions()


def test_one_region_in_three_places_is_one(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photograph(named("Picasa's")))
    (tmp_path / "photo.jpg.xmp").write_bytes(named("Picasa's"))
    (tmp_path / ".picasa.ini").write_bytes(PICASA)
    assert names(RegionReader().read(tmp_path / "photo.jpg")) == ["Picasa's"]


def test_different_names_stand_in_the_order_of_sidecar_photograph_picasa(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photograph(named("inside")))
    (tmp_path / "photo.jpg.xmp").write_bytes(named("sidecar"))
    (tmp_path / "photo.xmp").write_bytes(named("sidecar of the stem"))
    (tmp_path / "Picasa.ini").write_bytes(PICASA)
    found = RegionReader().read(tmp_path / "photo.jpg")
    assert names(found) == ["sidecar", "sidecar of the stem", "inside", "Picasa's"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_regions_lie_where_they_belong_at_each_orientation(
    tmp_path: Path, orientation: int, format: str
) -> None:
    back = {6: 8, 8: 6}.get(orientation, orientation)
    path = tmp_path / "photo.any"
    xmp = packet(microsoft([("Bob", (0.5, 0.5, 1, 1))]), mwg([("Ada", turned(BOX, back))]))
    exif = Image.Exif()
    exif[274] = orientation
    options = {"tiffinfo": {274: orientation, 700: xmp}} if format == "TIFF" else {"exif": exif, "xmp": xmp}
    Image.new("RGB", PhotographSize(WIDTH, HEIGHT, orientation).stored).save(path, format, **options)  # type: ignore[arg-type]
    if format == "PNG":  # for which Pillow has no option
        path.write_bytes(_with_text(path.read_bytes(), xmp))
    found = RegionReader().read(path)
    assert found.problems == ()
    assert [(region.name, region.box) for region in found.regions] == [
        ("Ada", pytest.approx(IN_PIXELS)),
        ("Bob", (WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)),
    ]


def _with_text(png: bytes, xmp: bytes) -> bytes:
    body = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
    return png[:33] + len(body).to_bytes(4, "big") + b"iTXt" + body + bytes(4) + png[33:]


def test_the_size_and_orientation_of_a_line_are_taken_where_they_are_given(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photograph(named("Ada")))
    [found] = RegionReader().read(tmp_path / "photo.jpg", PhotographSize(640, 480)).regions
    assert found.box == (160, 60, 320, 180)


def test_a_sidecar_beside_a_file_that_is_gone_or_not_read_is_read(tmp_path: Path) -> None:
    (tmp_path / "photo.psd").write_bytes(b"8BPS" + bytes(300))
    (tmp_path / "photo.xmp").write_bytes(named("Ada"))
    for name, problem in (
        ("photo.psd", "photo.psd: Photoshop is not read: save it as JPEG, PNG or TIFF"),
        ("photo.jpg", "photo.jpg: cannot be read: No such file or directory"),
    ):
        found = RegionReader().read(tmp_path / name, PhotographSize(WIDTH, HEIGHT))
        assert names(found) == ["Ada"]
        assert found.problems == (problem,)
        assert RegionReader().read(tmp_path / name) == Regions(problems=(problem,))


def test_a_picture_whose_header_has_no_size_costs_a_line(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photograph(named("Ada"))[:300])
    assert RegionReader().read(tmp_path / "photo.jpg").problems == (
        "photo.jpg: its size is not in its header",
    )


def test_a_sidecar_that_is_not_read_costs_a_line(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photograph(named("Ada")))
    sidecar = tmp_path / "photo.jpg.xmp"
    wrong = {
        "the XMP is no XML: not well-formed (invalid token): line 1, column 0": b"\1" + named("Bob"),
        "metadata of more than 16 MiB is not read": named("Bob") + bytes(16 << 20),
    }
    for problem, data in wrong.items():
        sidecar.write_bytes(data)
        found = RegionReader().read(tmp_path / "photo.jpg")
        assert names(found) == ["Ada"]
        assert found.problems == (f"photo.jpg.xmp: {problem}",)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photograph(named("Ada")))
    os.mkfifo(tmp_path / "photo.xmp")
    (tmp_path / "photo.jpg.xmp").mkdir()
    (tmp_path / ".picasa.ini").symlink_to("nowhere")
    found = RegionReader().read(tmp_path / "photo.jpg")
    assert names(found) == ["Ada"]
    assert found.problems == (
        "photo.jpg.xmp: cannot be read: it is no regular file",
        "photo.xmp: cannot be read: it is no regular file",
        ".picasa.ini: cannot be read: No such file or directory",
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.jpg"))
        [problem] = RegionReader().read(tmp_path / "socket.jpg").problems
    assert problem.startswith("socket.jpg: cannot be read: ")
    assert RegionReader().read("a\0b").problems == ("a\\x00b: cannot be read: embedded null byte",)


def test_a_problem_of_picasas_file_is_named_once_a_folder(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(photograph())
    (tmp_path / ".picasa.ini").write_bytes(b"[Contacts2]\n1=" + b"x" * 300)
    reader = RegionReader()
    assert reader.read(tmp_path / "a.jpg").problems == (".picasa.ini: a name has more than 200 characters",)
    assert reader.read(tmp_path / "b.jpg").problems == ()


def test_contacts_complete_those_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photograph())
    (tmp_path / ".picasa.ini").write_bytes(PICASA.replace(b"[Contacts2]", b"[Contacts]"))
    assert names(RegionReader({"1": "Ada"}).read(tmp_path / "photo.jpg")) == ["Ada"]


def test_a_photograph_in_the_working_directory_has_its_sidecar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photo.jpg").write_bytes(photograph())
    (tmp_path / "photo.xmp").write_bytes(named("Ada"))
    monkeypatch.chdir(tmp_path)
    assert names(RegionReader().read("photo.jpg")) == ["Ada"]


def test_every_region_of_real_programs_lies_where_the_truth_says(photos: Path) -> None:
    folder = photos / "xmp_regions"
    reader = RegionReader()
    with open(folder / "truth_upright.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15
    for row in rows:
        found = reader.read(folder / row["file"])
        assert found.problems == ()
        left, top, width, height = (float(row[key]) for key in ("x", "y", "w", "h"))
        truth = np.array([[left, top, left + width, top + height]], np.float32)
        overlaps = geometry.iou(truth, geometry.as_boxes([region.box for region in found.regions]))[0]
        best = int(overlaps.argmax())
        assert overlaps[best] >= 0.95, row
        assert found.regions[best].name == (row["name"] or None)
    for name in {row["file"] for row in rows}:
        assert len(reader.read(folder / name).regions) == sum(row["file"] == name for row in rows), name


def test_odd_files_of_real_programs_are_read(photos: Path) -> None:
    folder = photos / "xmp_regions"
    reader = RegionReader()

    def read(name: str, picture: PhotographSize | None = None) -> dict[str | None, tuple[int, ...]]:
        found = reader.read(folder / name, picture)
        assert found.problems == ()
        return {region.name: tuple(round(side) for side in region.box) for region in found.regions}

    assert read("digikam_7x5.jpg") == {"Æske Øllegård": (3, 2, 5, 4)}
    assert reader.read(folder / "digikam_7x5.jpg").unplaced == ("æÆøØåÅéÉüÜäÄöÖïÏñÑ",)
    assert read("special_names_7x5.jpg") == {'"quoted "@#$ name" !@#$%^&*()_+': (1, 1, 4, 3)}
    assert read("png_with_faces.png") == {"raspberry": (3, 8, 23, 26), "leaf": (14, 0, 23, 7)}
    assert read("lightroom_animals.jpg") == {
        "Boo-Boo Bear": (557, 280, 668, 400),
        "Balu the bear": (481, 381, 596, 474),
    }
    unicode = reader.read(folder / "tagthatphoto_unicode_names.jpg")
    assert [(region.name, round(region.box[0])) for region in unicode.regions] == [
        ("æÆøØåÅéÉüÜäÄöÖïÏñÑ", 566),
        ("abcdefghijklmnopqrstuvwxyz", 866),
        ("abcdefghijklmnopqrstuvwxyz", 1162),
    ]


def test_a_region_in_pixels_of_exiftool_is_read(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photograph())
    shutil.copy(photos / "xmp_regions" / "exiftool_XMP5_pixel_region.xmp", tmp_path / "photo.xmp")
    found = RegionReader().read(tmp_path / "photo.jpg")
    assert [(region.name, region.box) for region in found.regions] == [("Region 1", (0, 0, 4, 4))]
    assert found.problems == ("photo.xmp: a region without a name has no place, or no width and height",)


def test_picasas_faces_lie_on_the_true_ones(photos: Path) -> None:
    folder = photos / "derived_formats"
    found = RegionReader().read(folder / "orient_1.jpg")
    with open(folder / "truth.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["file"] == "orient_1.jpg"]
    truth = geometry.as_boxes(
        [
            [
                float(row["x"]),
                float(row["y"]),
                float(row["x"]) + float(row["w"]),
                float(row["y"]) + float(row["h"]),
            ]
            for row in rows
        ]
    )
    overlaps = geometry.iou(truth, geometry.as_boxes([region.box for region in found.regions]))
    assert (overlaps.max(axis=1) > 0.95).all()
    assert sorted(filter(None, names(found))) == ["Person One", "Person Three", "Person Two"]

"""The figures of benchmarks.accuracy: truth files, verdicts, averages, the original's merge rules, the whole program."""

from __future__ import annotations

import itertools
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks import detectors, metrics, original, truth
from benchmarks.accuracy import Cache
from benchmarks.metrics import Found, Truth, Verdict, judge, summarize
from tests.support import ROOT, environment, parameters_xml

RIGHT, WRONG, DUPLICATE, IGNORED = Verdict.RIGHT, Verdict.WRONG, Verdict.DUPLICATE, Verdict.IGNORED


def faces(*rows: tuple[float, float, float, float], ignored: tuple[int, ...] = ()) -> Truth:
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    return Truth(boxes, np.isin(np.arange(len(boxes)), ignored))


def found(*rows: tuple[float, float, float, float, float]) -> Found:
    """left, top, right, bottom, score."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Found(table[:, :4], table[:, 4])


A, B = (0, 0, 100, 100), (200, 0, 300, 100)


@pytest.mark.parametrize(
    ("true", "seen", "verdicts"),
    [
        (faces(), found(), []),
        (faces(A), found(), []),
        (faces(), found((*A, 1)), [WRONG]),
        (faces(A), found((*A, 1)), [RIGHT]),
        # the more confident one is right, wherever it stands
        (faces(A), found((0, 0, 100, 90, 0.1), (0, 0, 90, 100, 0.9)), [DUPLICATE, RIGHT]),
        # 39 of 100 rows are too few at 0.4, 40 are enough
        (faces(A), found((0, 0, 100, 39, 1)), [WRONG]),
        (faces(A), found((0, 0, 100, 41, 1)), [RIGHT]),
        (faces(A, B), found((*B, 0.5), (*A, 0.7), (400, 0, 500, 100, 0.6)), [RIGHT, RIGHT, WRONG]),
        # on a face to be ignored: neither right nor wrong, nor a duplicate
        (faces(A, ignored=(0,)), found((*A, 1), (*A, 0.5)), [IGNORED, IGNORED]),
        # a face under 10 px is such a one
        (faces((0, 0, 9, 30)), found((0, 0, 9, 30, 1)), [IGNORED]),
        # it belongs to the face it overlaps most, though that is taken and another would do
        (faces(A, (0, 0, 100, 60)), found((*A, 1), (0, 0, 100, 95, 0.5)), [RIGHT, DUPLICATE]),
    ],
)
def test_a_detection_is_judged(true: Truth, seen: Found, verdicts: list[Verdict]) -> None:
    assert judge(true, seen, 0.4)[0].tolist() == verdicts


def test_a_verdict_names_the_face_it_is_about() -> None:
    _, owners = judge(faces(A, B), found((*B, 0.5), (400, 0, 500, 100, 0.6), (*A, 0.7)), 0.4)
    assert owners.tolist() == [1, -1, 0]


def test_by_size_other_sizes_are_ignored() -> None:
    true = faces((0, 0, 15, 20), (100, 0, 150, 60))
    seen = found((0, 0, 15, 20, 0.9), (100, 0, 150, 60, 0.8), (300, 0, 312, 12, 0.7), (400, 0, 460, 60, 0.6))
    assert judge(true, seen, 0.5, (10, 20))[0].tolist() == [RIGHT, IGNORED, WRONG, IGNORED]
    assert judge(true, seen, 0.5, (40, 80))[0].tolist() == [IGNORED, RIGHT, IGNORED, WRONG]
    summary = summarize([(true, seen)], overlap=0.5, span=(20, 40))
    assert (summary.faces, summary.right, summary.wrong) == (0, 0, 0)
    assert math.isnan(summary.recall)
    assert math.isnan(summary.average_precision)


def test_average_precision_by_hand() -> None:
    """Right, wrong, right, wrong of 4 faces: recall 1/4 at precision 1, 1/2 at 2/3; what comes after adds nothing."""
    true = faces(A, B, (0, 200, 100, 300), (200, 200, 300, 300))
    nothing = (400, 0, 500, 100)
    seen = found((*A, 0.9), (*nothing, 0.8), (*B, 0.7), (*nothing, 0.6))
    summary = summarize([(true, seen)], overlap=0.5)
    assert summary.average_precision == pytest.approx(1 / 4 * 1 + 1 / 4 * 2 / 3)
    assert (summary.recall, summary.precision) == (0.5, 0.5)
    # precision 1 at a recall of 1/2: what is wrong before it does not lower what comes after it
    seen = found((*A, 0.9), (*B, 0.9), (*nothing, 0.8))
    assert summarize([(true, seen)], overlap=0.5).average_precision == pytest.approx(0.5)


def test_detections_of_one_score_count_together() -> None:
    """However they are ordered: a score all have in common cannot rank them."""
    nothing = (400, 0, 500, 100)
    for seen in (found((*A, 0.5), (*nothing, 0.5)), found((*nothing, 0.5), (*A, 0.5))):
        assert summarize([(faces(A), seen)], overlap=0.5).average_precision == pytest.approx(0.5)


def test_the_threshold_cuts_counts_but_not_the_curve() -> None:
    seen = found((*A, 0.9), (*B, 0.3), (*B, 0.2))
    summary = summarize([(faces(A, B), seen)], overlap=0.5, threshold=0.5)
    assert (summary.right, summary.wrong, summary.duplicates, summary.recall) == (1, 0, 0, 0.5)
    assert summary.average_precision == pytest.approx(1.0)


def test_duplicates_are_counted_apart_and_cost_precision() -> None:
    summary = summarize([(faces(A), found((*A, 0.9), (*A, 0.8)))] * 2, overlap=0.5)
    assert (summary.images, summary.right, summary.duplicates, summary.wrong) == (2, 2, 2, 0)
    assert summary.precision == 0.5


SIDE = st.integers(5, 40)
BOX = st.tuples(st.integers(0, 60), st.integers(0, 60), SIDE, SIDE).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
IMAGE = st.tuples(
    st.lists(st.tuples(BOX, st.booleans()), max_size=5),
    st.lists(st.tuples(BOX, st.integers(0, 5).map(lambda score: score / 4)), max_size=8),
)


def plainly(images: list[Any], overlap: float) -> tuple[float, int, int, int]:
    """The same protocol a second time, without arrays: average precision, right, wrong, duplicates."""

    def share(a: Any, b: Any) -> float:
        width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
        height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
        area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
        return float(np.float32(width * height) / np.float32(area))

    outcomes, total = [], 0
    for truths, detections in images:
        valid = [not out and min(box[2] - box[0], box[3] - box[1]) >= 10 for box, out in truths]
        total += sum(valid)
        used = set()
        for box, score in sorted(detections, key=lambda item: -item[1]):
            shares = [share(box, face) for face, _ in truths]
            best = max(shares, default=-1)
            if best < overlap:
                outcomes.append((score, "wrong"))
            elif valid[owner := shares.index(best)]:
                outcomes.append((score, "duplicate" if owner in used else "right"))
                used.add(owner)
    points = []
    for score in {score for score, _ in outcomes}:
        kept = [outcome for other, outcome in outcomes if other >= score]
        points.append((kept.count("right") / max(1, total), kept.count("right") / len(kept)))
    # every step of recall, at the best precision from there on
    levels = sorted({0.0, *(recall for recall, _ in points)})
    average = sum(
        (high - low) * max(precision for recall, precision in points if recall >= high)
        for low, high in itertools.pairwise(levels)
    )
    counts = [outcome for _, outcome in outcomes]
    return average, counts.count("right"), counts.count("wrong"), counts.count("duplicate")


@given(st.lists(IMAGE, max_size=4), st.sampled_from([0.3, 0.5]))
def test_the_same_figures_as_a_plain_second_implementation(images: list[Any], overlap: float) -> None:
    pairs = [
        (
            faces(*(box for box, _ in true), ignored=tuple(i for i, (_, out) in enumerate(true) if out)),
            found(*((*box, score) for box, score in seen)),
        )
        for true, seen in images
    ]
    summary = summarize(pairs, overlap=overlap)
    average, right, wrong, duplicates = plainly(images, overlap)
    assert (summary.right, summary.wrong, summary.duplicates) == (right, wrong, duplicates)
    if summary.faces:
        assert summary.average_precision == pytest.approx(average)


def test_the_same_average_precision_as_pycocotools() -> None:
    """COCO's evaluation judges alike where no detection is near two faces; it reads the curve at steps of recall."""
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed (extra: accuracy)")
    from pycocotools.cocoeval import COCOeval

    random = np.random.default_rng(0)
    pairs, images, annotations, results = [], [], [], []
    for number in range(1, 31):
        cells = random.permutation(36)[:12]
        corners = np.stack([cells % 6, cells // 6], axis=1) * 100.0
        boxes = np.concatenate([corners, corners + random.uniform(12, 80, (12, 2))], axis=1)
        true = Truth(boxes[:8].astype(np.float32), random.random(8) < 0.2)
        # most of the faces, moved by a little, and some places without one
        moved = boxes[2:] + random.normal(0, 6, (10, 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 3)
        seen = Found(moved.astype(np.float32), random.random(10).astype(np.float32))
        pairs.append((true, seen))
        images.append({"id": number})
        for box, ignored in zip(true.boxes, true.ignored, strict=True):
            annotations.append({"image_id": number, "box": box, "ignored": ignored})
        for box, score in zip(seen.boxes, seen.scores, strict=True):
            results.append(
                {"image_id": number, "category_id": 1, "bbox": coco_box(box), "score": float(score)}
            )
    truths = coco.COCO()
    truths.dataset = {
        "images": images,
        "categories": [{"id": 1}],
        "annotations": [
            {
                "id": identity,
                "image_id": item["image_id"],
                "category_id": 1,
                "bbox": coco_box(item["box"]),
                # COCO's own way to ignore a face without making it a crowd: an area beyond all that is asked for
                "area": 1e12 if item["ignored"] else 1.0,
                "iscrowd": 0,
            }
            for identity, item in enumerate(annotations, 1)
        ],
    }
    truths.createIndex()
    for overlap in (0.4, 0.5):
        evaluation = COCOeval(truths, truths.loadRes(results), "bbox")
        evaluation.params.iouThrs = np.array([overlap])
        evaluation.params.recThrs = np.linspace(0, 1, 20001)
        evaluation.evaluate()
        evaluation.accumulate()
        theirs = float(evaluation.eval["precision"][0, :, 0, 0, -1].mean())
        ours = summarize(pairs, overlap=overlap, span=(0, np.inf)).average_precision
        assert 0.2 < ours < 0.9
        assert ours == pytest.approx(theirs, abs=1e-3)


def coco_box(box: np.ndarray) -> list[float]:
    left, top, right, bottom = (float(edge) for edge in box)
    return [left, top, right - left, bottom - top]


# truth files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (64, 48)).save(tmp_path / name)
    return tmp_path


WIDER = "a.png\n2\n1 2 10 20 0 0 0 0 0 0\n30 2 12 14 0 0 0 1 0 0 \nb.png\n0\n0 0 0 0 0 0 0 0 0 0\n"
CSV = "file,x,y,w,h,invalid\na.png,1,2,10,20,0\na.png,30,2,12,14,1\nb.png,,,,,\n"
XML = """<dataset><images>
<image file='a.png'><box top='2' left='1' width='10' height='20'/><box top='2' left='30' width='12' height='14' ignore='1'/>
</image><image file='b.png'/></images></dataset>"""


@pytest.mark.parametrize(
    ("name", "text"), [("wider_face_val_bbx_gt.txt", WIDER), ("truth.csv", CSV), ("testing.xml", XML)]
)
def test_every_format_says_the_same(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    for place in (folder, folder / name):
        first, second = truth.read(place)
        assert (first.name, second.name, first.path) == ("a.png", "b.png", folder / "a.png")
        assert first.truth.boxes.tolist() == [[1, 2, 11, 22], [30, 2, 42, 16]]
        assert first.truth.ignored.tolist() == [False, True]
        assert second.truth.boxes.shape == (0, 4)


def test_pictures_are_found_in_images_and_counted_once(folder: Path) -> None:
    (folder / "images").mkdir()
    (folder / "c.png").rename(folder / "images" / "c.png")
    (folder / "testing.xml").write_text("<dataset><images><image file='c.png'/></images></dataset>")
    (folder / "training.xml").write_text(
        "<dataset><images><image file='c.png'><box top='2' left='1' width='10' height='20'/></image></images></dataset>"
    )
    [picture] = truth.read(folder)
    assert picture.path == folder / "images" / "c.png"
    assert len(picture.truth.boxes) == 0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("notes.md", "", "has no truth"),
        ("truth.csv", "file,x,y\na.png,1,2\n", "has no column h, w"),
        ("truth.csv", "file,x,y,w,h\na.png,1,2,wide,4\n", "line 2: 1, 2, wide, 4 are no x, y, width, height"),
        ("truth.csv", "file,x,y,w,h\nlost.png,1,2,3,4\n", "names lost.png, which is neither"),
        ("wider_face_val_bbx_gt.txt", "a.png\nb.png\n", "line 2: not 'b.png' but a count"),
        (
            "wider_face_val_bbx_gt.txt",
            "a.png\n2\n1 2 10 20 0 0 0 0 0 0\n",
            "has no 8 numbers; a.png has 2 boxes",
        ),
        ("faces.xml", "<dataset>", "faces.xml cannot be read"),
        ("faces.xml", "<!DOCTYPE x [<!ENTITY e 'e'>]><dataset>&e;</dataset>", "faces.xml cannot be read"),
        (
            "faces.xml",
            "<dataset><images><image file='a.png'><box top='2'/></image></images></dataset>",
            "are no x, y",
        ),
    ],
)
def test_a_bad_truth_is_named(folder: Path, name: str, text: str, message: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(truth.TruthError, match=re.escape(message)):
        truth.read(folder)


def test_the_shared_truths_agree(photos: Path) -> None:
    subset = photos / "wider_face_val_subset"
    tables = truth.read(subset / "truth.csv"), truth.read(subset / "wider_face_val_bbx_gt.txt")
    assert [picture.name for picture in tables[0]] == [picture.name for picture in tables[1]]
    for one, other in zip(*tables, strict=True):
        np.testing.assert_array_equal(one.truth.boxes, other.truth.boxes)
        np.testing.assert_array_equal(one.truth.ignored, other.truth.ignored)
    boxes = np.concatenate([p.truth.boxes[~p.truth.ignored] for p in tables[0]])
    assert (len(tables[0]), len(boxes), (metrics.sizes(boxes) >= 20).sum()) == (124, 2523, 1146)


# the original's merging


def candidate(
    box: tuple[int, int, int, int], level: int = 1, who: int = 0, score: float = 1.0
) -> original.Candidate:
    """Two of a different `who` are sqrt(2) apart."""
    encoding = np.zeros(128, np.float32)
    encoding[who] = 1
    return original.Candidate(box, level, score, encoding)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        # nearly the same box, whoever it is
        (candidate((0, 0, 100, 100)), candidate((5, 5, 105, 105), who=1), True),
        # a small one in the corner of a large one
        (candidate((0, 0, 100, 100)), candidate((72, 72, 100, 100), who=1), True),
        # across each other, round one centre
        (candidate((0, 30, 100, 70)), candidate((30, 0, 70, 100), who=1), True),
        # side by side, touching: different people stay two, the same one becomes one
        (candidate((0, 0, 100, 100)), candidate((90, 0, 190, 100), who=1), False),
        (candidate((0, 0, 100, 100)), candidate((90, 0, 190, 100)), True),
        # far smaller: never
        (candidate((0, 0, 100, 100)), candidate((40, 40, 59, 59)), False),
    ],
)
def test_the_originals_rules(a: original.Candidate, b: original.Candidate, same: bool) -> None:
    assert original.same_face(a, b) is same
    assert original.same_face(b, a) is same


def test_what_the_original_merges_is_the_box_round_both_with_the_coarser_encoding() -> None:
    coarse = candidate((0, 0, 100, 100), 1, who=1, score=2.0)
    fine = candidate((5, 5, 110, 105), 2, who=2)
    other = candidate((300, 0, 400, 100), 2)
    merged = original.merge([fine, other, coarse])
    assert [face.box for face in merged] == [(0, 0, 110, 105), (300, 0, 400, 100)]
    assert (merged[0].level, merged[0].score) == (1, 2.0)
    assert merged[0].encoding[1] == 1
    assert original.merge([]) == []


def test_the_originals_tiles_overlap() -> None:
    assert original._parts(1000, 1) == [(0, 1000)]
    assert original._parts(1000, 2) == [(0, 530), (470, 1000)]


# the whole


def test_a_peer_whose_package_is_missing_is_absent() -> None:
    with pytest.raises(detectors.Absent, match="nowhere/python cannot be run"):
        detectors.Outside("MTCNN", "mtcnn20", "/nowhere/python")
    code = "import sys; sys.modules['facenet_pytorch'] = None; sys.argv = ['', 'mtcnn20']; import runpy;"
    done = subprocess.run(
        [sys.executable, "-c", f"{code} runpy.run_path({str(detectors.OUTSIDE)!r}, run_name='__main__')"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "facenet_pytorch" in json.loads(done.stdout)["absent"]


def test_detections_are_kept_until_what_made_them_changes(tmp_path: Path) -> None:
    file = tmp_path / "kept" / "ours.jsonl"
    Cache(file, "one").put("a.jpg", found((1, 2, 3, 4, 0.5)), 0.25)
    kept = Cache(file, "one").get("a.jpg")
    assert kept is not None
    assert (kept[0].boxes.tolist(), kept[0].scores.tolist(), kept[1]) == ([[1, 2, 3, 4]], [0.5], 0.25)
    assert Cache(file, "one").get("b.jpg") is None
    assert Cache(file, "two").get("a.jpg") is None
    assert Cache(file, "one").get("a.jpg") is None  # the other code's file took its place


def test_the_program_prints_the_table(tmp_path: Path, astronaut: np.ndarray) -> None:
    Image.fromarray(astronaut).save(tmp_path / "astronaut.png")
    Image.fromarray(astronaut[256:]).save(tmp_path / "nobody.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "truth.csv").write_text(
        "file,x,y,w,h\nastronaut.png,170,70,100,110\nbroken.png,1,2,30,40\nnobody.png,,,,\n"
    )
    command = [sys.executable, "-m", "benchmarks.accuracy", str(tmp_path), "--peers", "full,haar"]
    command += ["--python", "opencv=/nowhere/python", "--cache", str(tmp_path / "kept")]
    tables = []
    for _ in range(2):
        done = subprocess.run(
            command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        tables.append(done.stdout)
    assert tables[0] == tables[1]  # the second time out of the cache, seconds and all
    assert "2 pictures with 1 faces of 10 px and more" in tables[0]
    assert (
        "| face_recognition, full size | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 | 0.00 | 0.00 |"
        in tables[0]
    )
    assert "- absent: haar (/nowhere/python cannot be run" in tables[0]
    assert "- not read: broken.png: " in tables[0]


def test_what_a_parameters_file_says_of_the_threshold_counts(tmp_path: Path, astronaut: np.ndarray) -> None:
    Image.fromarray(astronaut).save(tmp_path / "astronaut.png")
    (tmp_path / "truth.csv").write_text("file,x,y,w,h\nastronaut.png,170,70,100,110\n")
    command = [sys.executable, "-m", "benchmarks.accuracy", str(tmp_path), "--peers", "budget"]
    for name, threshold in (("strict", 2), ("usual", 0)):
        file = tmp_path / f"{name}.xml"
        element = f"<threshold>{threshold}</threshold><search>everywhere</search></tiled_detect_params>"
        file.write_text(parameters_xml().replace("</tiled_detect_params>", element))
        command += ["--parameters", str(file)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = dict(re.findall(r"^\| pyraface, (\w+) \| \S+ \| \S+ \| (\S+)", done.stdout, re.MULTILINE))
    assert found == {"strict": "0.000", "usual": "1.000"}

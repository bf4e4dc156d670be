"""Every benchmark that can be started is started, as a process, with the smallest input that brings it to every row.

No photograph is needed: one portrait stands in for all, in folders that are named as those of the real photographs are. What
the figures are worth is for other tests; here they are only there.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import __main__ as speed
from benchmarks import (
    costs,
    encodings,
    fusion,
    gpu,
    occlusion,
    outside,
    profiles,
    quality,
    regions,
    runtime,
    search,
    sharpness,
    turned,
    zooming,
)
from tests.client.people.packets import mwg, packet
from tests.simulation import world
from tests.support import ROOT, environment, parameters_xml

SECONDS = 100
"""After which a benchmark hangs; none takes ten where nothing else runs."""

FIGURE = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
SEARCH = "(?:everywhere|guided|most)"
SPREAD = rf"\({FIGURE} to {FIGURE}(?:, \d+ turns)?\)"


def cells(count: int, unit: str = "") -> str:
    """A pattern: so many cells of a table with a figure in each."""
    return rf"(?:\| {FIGURE}{unit} ){{{count}}}\|"


def against(what: str, unit: str = "s") -> str:
    """A pattern: a row of `python -m benchmarks` that compares two things."""
    return rf"\| {what} \| [^|]+ {cells(2, f' {unit}')} \*\*{FIGURE}x\*\* {SPREAD} \|.*\|"


@dataclass(frozen=True)
class Case:
    """One start of an entry.

    Attributes:
        entry: what follows `python -m`.
        arguments: the words after it. Those in capitals are places (`places`); what is named in FOLDER is to be there then.
        rows: patterns of whole lines, and how many of these it prints at least.
        lines: what it reads from standard input.
        package: what it cannot do this without, which the extra `benchmark` installs.
    """

    entry: str
    arguments: str
    rows: Mapping[str, int]
    lines: str = ""
    package: str = ""

    @property
    def command(self) -> list[str]:
        # as its interpreter runs it, which need not have pyraface
        module = [outside.__file__] if self.entry == "benchmarks.outside" else ["-m", self.entry]
        return [sys.executable, *module, *shlex.split(self.arguments)]

    def __str__(self) -> str:
        return f"{self.entry} {self.arguments}".strip()


CASES = [
    Case(
        "benchmarks",
        "--rows tile --megapixels 0.02 --turns 1 --openblas PYTHON",
        {against(r"detection, 0\.02 Mpx"): 2},
    ),
    Case("benchmarks", "--rows encode --faces 1,2 --turns 1", {against(r"encoding, [12] faces"): 2}),
    Case(
        "benchmarks",
        "--rows photograph --parameters PARAMETERS --turns 1",
        {
            against(r"photograph, (1|4|12|36) Mpx, same pyramid"): 4,
            against(r"photograph, (1|4|12|36) Mpx, (guided|most)"): 8,
            against(r"photograph, 4 Mpx, the original's pyramid"): 1,
        },
    ),
    Case(
        "benchmarks",
        "--rows networks --parameters PARAMETERS --turns 1",
        {
            against(r"photograph, \d+ Mpx: all / its networks"): 4,
            against(r"as many operations: sgemm / the detector's head"): 1,
        },
    ),
    Case(
        "benchmarks",
        "--rows daemon --parameters PARAMETERS --turns 1",
        {against(rf"4 photographs, {SEARCH}: in process / through a daemon"): 3},
    ),
    Case(
        "benchmarks",
        "--rows memory --parameters PARAMETERS --images 5",
        {
            rf"\| executor's peak memory, {SEARCH} \| \(memory\) \| \| {FIGURE} GiB \| \| 12 photographs .*\|": 3,
            against(rf"executor's peak memory, {SEARCH}: images 1 to 2 / 4 to 5", "GiB"): 3,
        },
    ),
    Case(
        "benchmarks.footprint",
        "--megapixels 0.1 --parameters PARAMETERS",
        {rf"\| `{SEARCH}` \| (usual|frugal) {cells(2, ' MiB')}": 6},
    ),
    Case(
        "benchmarks",
        "--rows flood --parameters PARAMETERS --megabytes 1 --seconds 0.5",
        {rf"\| memory for images .* \| \(memory\) \| \| {FIGURE} times \| \| 8 clients .* 1 MB \|": 1},
    ),
    Case("benchmarks", "--rows start --turns 1", {against(r"pyraface(-daemon)? --help"): 2}),
    Case(
        "benchmarks",
        "--rows encode --faces 1 --turns 1 --markdown FOLDER/table.md --plot FOLDER/ratios.png",
        {against(r"encoding, 1 faces"): 1},
        package="matplotlib",
    ),
    Case(
        "benchmarks.accuracy",
        "PHOTOS/wider_face_val_subset --every 2 --parameters PARAMETERS --cache FOLDER/kept --markdown FOLDER/table.md",
        {rf"\| (face_recognition|the original|pyraface)[^|]* {cells(9)}": 10},
    ),
    Case(
        "benchmarks.accuracy",
        "PHOTOS/wider_face_val_subset --every 2 --peers full --engine dlib",
        {rf"\| face_recognition, full size {cells(9)}": 1},
    ),
    Case(
        "benchmarks.accuracy",
        "PHOTOS/wider_face_val_subset --every 2 --peers full --plot FOLDER/curves.png",
        {rf"\| face_recognition, full size {cells(9)}": 1},
        package="matplotlib",
    ),
    # of all pictures, of the half that thresholds are chosen on, and of the others
    Case(
        "benchmarks.search",
        "PHOTOS/wider_face_val_subset --lost",
        {
            rf"\| {SEARCH} \| {FIGURE} \| {FIGURE} .* \(1/{FIGURE}\) \|": 3 * 3,
            rf"\| face_recognition, its (?:default \(HOG\)|CNN) \| {FIGURE} \| {FIGURE} .* \|": 6,
            rf"\| {FIGURE} {cells(8)[:-2]}\| \d of \d \(.*\) \|": len(search.THRESHOLDS),
            r"\| guided (?:\| (?:\d\.\d+|nan) ){4}\| \d \|": 1,
            rf"Chosen: {FIGURE}": 1,
        },
    ),
    Case(
        "benchmarks.search",
        "PHOTOS/wider_face_val_subset --every 2 --markdown FOLDER/table.md --plot FOLDER/curves.png",
        {rf"Chosen: {FIGURE}": 1},
        package="matplotlib",
    ),
    Case(
        "benchmarks.client",
        "--images 10 --files 1000 --large 1",
        {
            rf"\| 10 images of .* \| {FIGURE} ms of the client's CPU an image \| \|": 1,
            rf"\| \| {FIGURE} ms an image, client and daemon together \| peak \d+ MiB \|": 1,
            rf"\| the same command again, .* \| {FIGURE} ms of CPU an image \| peak \d+ MiB \|": 1,
            rf"\| 1 files of 100 MB on loopback \| {FIGURE} MB/s \| peak \d+ MiB, \d+ of it Python \|": 1,
            r"\| a tree of 1000 files, all but 1000 done before \| \d+ s \| peak \d+ MiB \|": 1,
        },
    ),
    Case(
        "benchmarks.outputs",
        "--lines 30 --turns 1",
        {rf"\| `faces\.jsonl[^`]*` \| \d+ bytes \| {FIGURE} µs \| {FIGURE} µs \|": 3},
    ),
    Case(
        "benchmarks.encodings",
        "--markdown FOLDER/table.md",
        {
            rf"\| (deepface|knn): [^|]+ {cells(3)} {FIGURE}% \| {FIGURE}% \| {FIGURE} \|": (
                2 * 6 + len(encodings.SIZES)
            )
        },
    ),
    Case(
        "benchmarks.fusion",
        "--couples 2 --thresholds=0,-0.6 --markdown FOLDER/table.md",
        {rf"\| [^|]+ {cells(5)} .* \|": 2 * len(fusion.RULES)},
    ),
    Case(
        "benchmarks.gpu",
        f"PHOTOS/dlib_johns/ben --engines onnx,dlib --rows {','.join(gpu.ROWS)} --megapixels 0.02 --faces 1,2 "
        "--threads 1,2 --seconds 0",
        {
            rf"\| (onnx|dlib) \| start \| {FIGURE} s \| .* \|": 2,
            rf"\| (onnx|dlib) \| tiles of 0\.02 Mpx, 1 at once \| {FIGURE}/s \| .* \|": 2,
            rf"\| (onnx|dlib) \| YuNet, tiles of 0\.02 Mpx \| {FIGURE}/s \| .* \|": 2,
            rf"\| (onnx|dlib) \| crops of \d+ px, 1 at once \| {FIGURE}/s \| .* \|": 2 * 2,
            rf"\| (onnx|dlib) \| encoding, [12] at once \| {FIGURE}/s \| .* \|": 4,
            rf"\| (onnx|dlib) \| photographs, {SEARCH}, [12] decoding threads \| {FIGURE}/s \| .* \|": 2
            * 3
            * 2,
        },
    ),
    Case(
        "benchmarks.gpu",
        "--engines dlib --rows tiles --megapixels 0.02 --seconds 0",
        {rf"\| dlib \| tiles of 0\.02 Mpx, 1 at once \| {FIGURE}/s \| .* \|": 1},
    ),
    # of each set, all pictures and the smallest one
    Case(
        "benchmarks.hog",
        "--every 3 --cnn 1 --markdown FOLDER/table.md",
        {
            rf"\| compreface_samples[^|]* \| (pyraface|face_recognition), [^|]+ \| \d of \d {cells(2)} .* \|": 4
            + 5,
            rf"\| deepface_pairs[^|]* \| (pyraface|face_recognition), [^|]+ \| - {cells(2)} .* \|": 4 + 5,
        },
    ),
    *(
        Case(
            "benchmarks.outside",
            name,
            {r'\{"boxes": \[\[\d.*\]\], "scores": \[\d.*\]\}': 1},
            lines="PIXELS\n",
        )
        for name in outside.DETECTORS
    ),
    Case(
        "benchmarks.parity",
        "PHOTOS/dlib_johns/ben",
        {r"\| (\.|\*\*all\*\*) \| 1 \| 0 \| 1 / 1 \| 0 / 0 \| 0 px \| .*x \|": 2},
    ),
    Case(
        "benchmarks.agreement",
        "PHOTOS/dlib_johns/ben --photographs 1",
        {
            r"\| onnx and (dlib|onnx without int8) \| 1 \| 1 \| .* \| .* px \| 0 \|": 2,
            rf"\| weights with (10|7|4) bits of mantissa {cells(2)}": 3,
            rf"\| .* of a layer .*\(\d+\) {cells(2)}": 12,
        },
    ),
    Case(
        "benchmarks.profiles",
        "--photographs 1",
        {
            r"\| (sRGB|Display P3|Adobe RGB|ProPhoto RGB|BT.2020).* \| \d+ \| \d+ \| .+ \| \d+\.\d% \|": (
                2 + len(profiles.SPACES) + len(profiles.BACK)
            ),
        },
    ),
    Case(
        "benchmarks.peer",
        "PARAMETERS",
        {rf'\{{"seconds": {FIGURE}\}}': 2, rf'\{{"seconds": {FIGURE}, "faces": [1-9]\d*\}}': 2},
        lines='{"work": "tile", "megapixels": 0.02}\n'
        '{"work": "encode", "faces": 1}\n'
        '{"work": "photograph", "path": "PHOTOS/dlib_johns/ben/a.jpg"}\n'
        '{"work": "original", "path": "PHOTOS/dlib_johns/ben/a.jpg"}\n',
    ),
    Case(
        "benchmarks.costs",
        "--megapixels 0.02 --turns 1 --markdown FOLDER/table.md",
        {
            rf"\| 0\.02 Mpx, \d faces? \| {SEARCH} {cells(2)} 1/{FIGURE} \| {FIGURE} \| 1/{FIGURE} \| .*\|": 3
            * 3,
            rf"\| 0\.02 Mpx, \d faces? {cells(len(costs.STAGES))}": 3,
        },
    ),
    Case(
        "benchmarks.occlusion",
        "--shares 0.5 --markdown FOLDER/table.md",
        {
            r"\| (whole|(cut|covered), 50% at the (left|top|right|bottom)) \| \d of \d .*\|": 1
            + 2 * len(occlusion.SIDES),
            rf"\| {FIGURE}, {FIGURE} \| (choosing|judging) .*\|": 2 * len(occlusion.THRESHOLDS),
            rf"\| {FIGURE} to {FIGURE} {cells(2)} .*\|": len(occlusion.CONFIDENCES) - 1,
        },
    ),
    Case("benchmarks.picture", "FOLDER/pyramid.png", {r".*/pyramid\.png: [1-9]\d* kB": 1}),
    Case(
        "benchmarks.quality",
        "--markdown FOLDER/table.md",
        {
            rf"\| (as they are|of \d+ px|shaken by \d+%) {cells(3)} {FIGURE}% \| .* \|": (
                1 + len(quality.SIZES) + len(quality.SHAKES)
            ),
            rf"\| {FIGURE} to {FIGURE} {cells(1)} {FIGURE}% \| .* \|": 1,
            rf"\| {FIGURE}, {FIGURE} \| (deepface|knn|johns) \| .* \|": 3 * len(quality.THRESHOLDS),
            r"\| 80 px and more \| 2, 0, 0 \| .* \|": 1,
            r"The default finds 1 faces in 1 of its photographs: 100% are comparable, .*": 1,
            rf"\| \d+ px \| {FIGURE} ms \|": 5,
        },
    ),
    Case(
        "benchmarks.runtime",
        "--megapixels 0.02 --turns 1",
        {
            rf"\| [^|]+ \| {FIGURE} / {FIGURE} s \| {FIGURE}x {SPREAD} \| {FIGURE} / {FIGURE} s \| .* \|": len(
                runtime.CHANGES
            )
        },
    ),
    Case(
        "benchmarks.screening",
        "PHOTOS/dlib_johns/ben --whole 1",
        {
            r"- 1 photographs up to 3\.84 Mpx; [1-9]\d* scores above 0": 1,
            rf"- the networks: .*: {FIGURE}x": 1,
            rf"- 1 whole photographs: .*: {FIGURE}x .*; faces 1 / 1": 1,
        },
    ),
    Case(
        "benchmarks.secrecy",
        "--turns 1 --photographs 1",
        {
            rf"\| (decoded and zoomed|moved, and no more), 1 turns of \d {cells(2, ' MB/s')} .* \|": 2,
            rf"to the welcome, with(out)? a key: median {FIGURE} ms, .*": 2,
        },
    ),
    Case(
        "benchmarks.sharpness",
        "--markdown FOLDER/table.md",
        {rf"\| [^|]+ {cells(1 + len(sharpness.WAYS))}": len(sharpness.MEASURES) * len(sharpness.SIDES)},
    ),
    Case(
        "benchmarks.simulation",
        "--images 100",
        {rf".*: 100 images in {FIGURE} virtual s .*: efficiency {FIGURE}%, .*": len(world.scenarios())},
    ),
    Case(
        "benchmarks.turned",
        "PHOTOS/wider_face_val_subset --markdown FOLDER/table.md",
        {
            r"\| guided \| \d+ \| \d of 3 \| \d, \d, \d, \d \| .* \|": len(turned.TURNS) + len(turned.TILTS),
            r"Upright photographs: 0 of 2 faces in 2 are declared turned\.": 1,
        },
    ),
    Case(
        "benchmarks.regions",
        "PHOTOS/wider_face_val_subset --photos PHOTOS/xmp_regions --markdown FOLDER/table.md",
        {
            r"16 composed cases, \d+ names with a face, \d+ regions without one": 1,
            rf"\| [^|]+ \| {FIGURE}% \| {FIGURE}% \| \d+ \|": len(regions.RULES) + 1,
            rf"\| a\.jpg \| Ada \| mwg \| {FIGURE} \|": 1,
            rf"reading and matching a photograph: {FIGURE} ms, at most {FIGURE} ms": 1,
        },
    ),
    Case("benchmarks.zooming", "", {rf"\| [^|]+ {cells(3)} {FIGURE} s \|": len(zooming.FILTERS)}),
]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """The folders of the real photographs, in each as few as will do, of one face: 150 pixels square, so soon searched."""
    folder = tmp_path_factory.mktemp("photographs")
    portrait = Image.fromarray(astronaut[41:191, 146:296])
    mirrored = portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    names = [
        *(f"compreface_samples/{name}.jpg" for name in ("001_A", "003_A", "004_A", "012_4", "016_8")),
        *(f"deepface_pairs/images/{number}.jpg" for number in (1, 2, 3)),
        *(f"dlib_faces/{number}.jpg" for number in (1, 2, 3, 4)),
        *(f"dlib_johns/{chip}.jpg" for chip in ("ann/a", "ann/b", "ben/a")),
        *(f"face_recognition_knn/train/ann/{letter}.jpg" for letter in "ab"),
        *(f"face_recognition_knn/test/{who}1.jpg" for who in ("alex_lacamoire", "johnsnow_test", "obama")),
        *(f"wider_face_val_subset/images/group/{letter}.jpg" for letter in "ab"),
    ]
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        (mirrored if file.stem in ("b", "2") else portrait).save(file, quality=92)
    (folder / "xmp_regions").mkdir()
    portrait.save(folder / "xmp_regions" / "a.jpg", quality=92)
    (folder / "xmp_regions" / "a.xmp").write_bytes(packet(mwg([("Ada", (0.2, 0.2, 0.8, 0.8))])))
    (folder / "deepface_pairs" / "pairs.csv").write_text(
        "file_x,file_y,same\n1.jpg,2.jpg,Yes\n1.jpg,3.jpg,No\n"
    )
    (folder / "compreface_samples" / "noses.csv").write_text("file,x,y\n001_A.jpg,75,80\n")
    (folder / "wider_face_val_subset" / "truth.csv").write_text(
        "file,x,y,w,h,blur,invalid\ngroup/a.jpg,25,30,95,95,0,0\ngroup/b.jpg,30,30,95,95,0,0\n"
    )
    return folder


@pytest.fixture
def places(photographs: Path, tmp_path: Path, astronaut: np.ndarray) -> dict[str, str]:
    """What the words in capitals stand for."""
    # dlib without a BLAS takes nine seconds a megapixel
    (tmp_path / "parameters.xml").write_text(parameters_xml(height=150, width=150, levels=2))
    np.save(tmp_path / "pixels.npy", astronaut)
    return {
        "PHOTOS": str(photographs),
        "FOLDER": str(tmp_path),
        "PARAMETERS": str(tmp_path / "parameters.xml"),
        "PIXELS": str(tmp_path / "pixels.npy"),
        "PYTHON": sys.executable,
    }


def started(command: list[str], lines: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end; one that hangs is ended with all that it started."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, said = process.communicate(lines, timeout=SECONDS)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(command, process.returncode, printed, said)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_benchmark_prints_its_rows(case: Case, places: dict[str, str]) -> None:
    if case.package and importlib.util.find_spec(case.package) is None:
        pytest.skip(f"{case.package} is not installed (extra: benchmark)")

    def filled(text: str) -> str:
        return re.sub("|".join(places), lambda word: places[word[0]], text)

    command = [filled(word) for word in case.command]
    done = started(command, filled(case.lines), environment(PYRAFACE_PHOTOS=places["PHOTOS"]))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    if absent := re.match(r'\{"absent": "(.*)"\}$', done.stdout):
        pytest.skip(f"{absent[1]} (benchmarks/accuracy.py says how to install it)")
    printed = done.stdout.splitlines()
    for row, count in case.rows.items():
        found = [line for line in printed if re.fullmatch(row, line)]
        assert len(found) >= count, f"{len(found)}, not {count}, of {row} in\n{done.stdout}"
    for word, place in zip(case.command, command, strict=True):
        if word.startswith("FOLDER/"):
            assert Path(place).stat().st_size, word


def entries() -> set[str]:
    """What can be started of benchmarks/: by its guard, its main or its name."""
    found = set()
    for file in (ROOT / "benchmarks").rglob("*.py"):
        tree = ast.parse(file.read_text()).body
        guarded = any(isinstance(node, ast.If) and "__name__" in ast.dump(node.test) for node in tree)
        named = any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree)
        if guarded or named or file.name == "__main__.py":
            parts = file.relative_to(ROOT).with_suffix("").parts
            found.add(".".join(part for part in parts if part != "__main__"))
    return found


def test_every_benchmark_has_a_case() -> None:
    assert entries() == {case.entry for case in CASES}


def test_every_row_of_the_table_of_speed_has_a_case() -> None:
    starts = " ".join(case.arguments for case in CASES if case.entry == "benchmarks")
    rows = {name for names in re.findall(r"--rows (\S+)", starts) for name in names.split(",")}
    assert rows == set(speed.ROWS)

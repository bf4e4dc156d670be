"""Encodings of given boxes through real daemons: the command, the library, the protocol."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pyraface
from pyraface.core import parameters
from pyraface.core.errors import DetectionError, ErrorCode
from pyraface.core.given_boxes import MOST_BOXES, GivenBoxes
from pyraface.core.protocol.messages import Cancel, Detect, Encode, Failed, Found
from tests.stub_daemon import stub_daemon
from tests.support import ROOT, Peer, daemon, environment, parameters_xml, run

EDGES = ("left", "top", "right", "bottom")


def encode(*words: str | Path, sent: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "pyraface", "encode", *map(str, words)],
        cwd=ROOT,
        env=environment(),
        input=sent,
        capture_output=True,
        timeout=120,
        check=False,
    )


def words_of(line: dict[str, Any], *, turned: bool = False) -> list[str]:
    """The options that name the boxes of a line."""
    boxes = [[face["box"][edge] for edge in EDGES] + [face["turned"]] * turned for face in line["faces"]]
    return [word for box in boxes for word in ("--box", ",".join(map(str, box)))]


@pytest.fixture
def photograph(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """Two portraits, one of them on its side, in a file that is turned by its EXIF orientation."""
    portrait = astronaut[:400, :400]
    both = np.concatenate([portrait, np.rot90(portrait)], axis=1)
    exif = Image.Exif()
    exif[274] = 3
    path = tmp_path / "both.jpg"
    Image.fromarray(np.rot90(both, 2)).save(path, exif=exif, quality=95)
    return path


@pytest.mark.usefixtures("yunet_weights")
def test_the_boxes_that_were_found_have_their_encodings_again_whichever_server_encodes_them(
    tmp_path: Path, photograph: Path
) -> None:
    with daemon(tmp_path, "--engine", "onnx") as onnx, daemon(tmp_path, "--engine", "dlib") as dlib:
        for search in ("everywhere", "guided"):
            there = ["--servers", f"127.0.0.1:{onnx.port}", "--search", search]
            command = [sys.executable, "-m", "pyraface", *there, str(photograph)]
            found = json.loads(
                subprocess.run(
                    command, cwd=ROOT, env=environment(), capture_output=True, timeout=120, check=True
                ).stdout
            )
            assert found["faces"]
            turns = {face["turned"] for face in found["faces"]}
            assert len(turns) == (1 if search == "everywhere" else 2)
            for turned in (False, True):
                done = encode(*there, *words_of(found, turned=turned), photograph)
                assert done.returncode == 0, done.stderr
                again = json.loads(done.stdout)
                for face, other in zip(again["faces"], found["faces"], strict=True):
                    assert (face["detector"], face["confidence"], face["level"]) == ("given", 0.0, 0)
                    for key in ("box", "turned", "page", "encoding"):
                        assert face[key] == other[key]
                    assert face["quality"] == {**other["quality"], "inside": 1.0, "comparable": True}
                same = (
                    "path",
                    "digest",
                    "size",
                    "modified",
                    "width",
                    "height",
                    "orientation",
                    "pictures",
                    "pages",
                )
                assert [again[key] for key in same] == [found[key] for key in same]
                # a line of given boxes does not stand for the faces of the photograph
                assert again["fingerprint"] == found["fingerprint"] + "-given"
        other = ["--servers", f"127.0.0.1:{dlib.port}", "--search", "guided"]
        mixed = json.loads(encode(*other, *words_of(found), photograph).stdout)
        assert mixed["computed_by"]["engine"] == "dlib"
        assert [face["turned"] for face in mixed["faces"]] == [face["turned"] for face in found["faces"]]
        for face, one in zip(mixed["faces"], found["faces"], strict=True):
            np.testing.assert_allclose(face["encoding"], one["encoding"], atol=1e-5)


def test_a_wrong_box_is_named_with_what_is_allowed(tmp_path: Path, photograph: Path) -> None:
    with stub_daemon(tmp_path, seconds=0.0) as server:
        there = ["--servers", f"127.0.0.1:{server.port}"]
        for boxes, reason in (
            (["1,2,3"], "takes LEFT,TOP,RIGHT,BOTTOM in pixels"),
            (["1,2,3,x"], "takes LEFT,TOP,RIGHT,BOTTOM in pixels"),
            (["1,2,3,4,45"], "0, 90, 180 or 270 or nothing, not '1,2,3,4,45'"),
            (["1,2,30,40", "1,2,nan,4"], "box 2: right must be a number from"),
            (["1,2,30,40", "9,2,9,4"], "box 2 is empty: left and right are 9 and 9"),
            (["1,2,30,40"] * (MOST_BOXES + 1), f"{MOST_BOXES + 1} boxes, and at most {MOST_BOXES}"),
            ([], "the following arguments are required: --box"),
        ):
            done = encode(*there, *(word for box in boxes for word in ("--box", box)), photograph)
            assert (done.returncode, done.stdout) == (2, b"")
            assert reason in done.stderr.decode()
            assert "Traceback" not in done.stderr.decode()
        done = encode(*there, "--box", "1,2,30,40", "--box", "800,0,900,90", photograph)
        assert done.returncode == 1
        line = json.loads(done.stdout)
        assert line["error"]["code"] == "bad-box"
        assert "box 2 shows nothing of the picture of 800 x 400 pixels" in line["error"]["message"]
        assert line["faces"] == []
        assert line["error"]["message"] in done.stderr.decode()
        done = encode(*there, "--box", "1,2,30,40", "--page", "7", photograph)
        assert json.loads(done.stdout)["error"]["code"] == "bad-box"
        done = encode(*there, "--box", "1,2,30,40", photograph.with_name("missing.jpg"))
        assert (done.returncode, done.stdout) == (2, b"")
        assert "no such file" in done.stderr.decode()


def test_an_image_on_standard_input_is_encoded_and_a_box_may_begin_left_of_it(
    tmp_path: Path, photograph: Path
) -> None:
    with stub_daemon(tmp_path, seconds=0.0) as server:
        there = ["--servers", f"127.0.0.1:{server.port}"]
        done = encode(*there, "--box", "-5,10,100,90", "-", sent=photograph.read_bytes())
        assert done.returncode == 0, done.stderr
        line = json.loads(done.stdout)
        assert line["path"] == "-"
        [face] = line["faces"]
        assert face["box"] == {"left": 0, "top": 10, "right": 100, "bottom": 90}
        assert face["quality"]["inside"] == pytest.approx(100 / 105)
        done = encode(*there, "--box", "-5,10,100,90", "-")
        assert json.loads(done.stdout)["error"]["code"] == "unreadable"
        assert done.returncode == 1


@pytest.mark.usefixtures("yunet_weights")
def test_the_library_encodes_as_a_pipeline_does_in_every_form_of_an_image(
    tmp_path: Path, photograph: Path, astronaut: np.ndarray
) -> None:
    here = parameters.parse(parameters_xml().encode())
    pipeline = pyraface.Pipeline(here, "onnx")
    box = [[175, 71, 268, 163]]

    content = photograph.read_bytes()

    async def work(servers: str) -> None:
        async with pyraface.Client(servers, parameters=here, search="guided") as client:
            with pytest.raises(ValueError, match="box 1 is empty"):
                client.encode(photograph, [[1, 1, 1, 1]])
            for image in (photograph, content, astronaut, Image.fromarray(astronaut)):
                result = await client.encode(image, box, turned=[0])
                expected = pipeline.encode(image, box, turned=[0], search="guided")
                np.testing.assert_array_equal(result.faces.encodings, expected.encodings)
                assert result.faces.detectors.tolist() == ["given"]
            results = await asyncio.gather(
                *(client.encode(photograph, [[left, 9, left + 90, 99]]) for left in range(40))
            )
            assert [int(result.faces.boxes[0, 0]) for result in results] == list(range(40))
            refused = await client.encode(photograph, [[900, 0, 950, 50]])
            assert refused.error is not None
            assert refused.error[0] is ErrorCode.BAD_BOX
            with pytest.raises(DetectionError, match="box 1 shows nothing"):
                assert refused.faces
            found = await client.detect(photograph)
            again = await client.encode(photograph, found.faces.boxes)
            np.testing.assert_array_equal(again.faces.encodings, found.faces.encodings)
            np.testing.assert_array_equal(again.faces.turned, found.faces.turned)

    with daemon(tmp_path, "--engine", "onnx") as server:
        servers = f"127.0.0.1:{server.port}"
        run(work(servers))
        result = pyraface.encode_faces(photograph, box, servers=servers)
        assert result.path == str(photograph)
        np.testing.assert_array_equal(result.faces.boxes, np.array(box, np.float32))
        with pytest.raises(ValueError, match="box 1: top must be a number"):
            pyraface.encode_faces(photograph, [[0, float("nan"), 5, 5]], servers=servers)


def test_a_server_answers_requests_of_both_kinds_cancels_them_and_refuses_a_search(
    tmp_path: Path, photograph: Path
) -> None:
    image = photograph.read_bytes()
    given = GivenBoxes.of([[10, 10, 90, 90]] * MOST_BOXES)

    async def talk(port: int) -> None:
        peer, _ = await Peer.welcomed(port)
        peer.send(Detect(1, image))
        peer.send(Encode(2, given, image))
        peer.send(Encode(3, given, image))
        peer.send(Cancel(3))
        peer.send(Encode(4, given, image, search="nowhere"))
        answers = {}
        for _ in range(4):
            answer = await peer.next()
            assert isinstance(answer, (Found, Failed))
            answers[answer.id] = answer
        assert isinstance(answers[1], Found)
        assert isinstance(answers[2], Found)
        assert len(answers[2].faces) == MOST_BOXES
        assert isinstance(answers[3], Failed)
        assert answers[3].code is ErrorCode.CANCELLED
        assert isinstance(answers[4], Failed)
        assert answers[4].code is ErrorCode.SEARCH_UNAVAILABLE
        peer.send(Encode(2, given, b"no image"))
        answer = await peer.next()
        assert isinstance(answer, Failed)
        assert answer.code is ErrorCode.NOT_AN_IMAGE
        await peer.close()

    with stub_daemon(tmp_path, seconds=0.5) as server:
        run(talk(server.port))

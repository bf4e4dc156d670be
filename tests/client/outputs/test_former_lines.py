"""Former lines: those of every earlier version are completed, and none is lost or made up."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pyraface.client.outputs.former_lines import FACE_KEYS, QUALITY_KEYS, completed
from pyraface.client.outputs.journal import Journal
from pyraface.core.errors import OutputError
from pyraface.core.results import KEYS
from tests.output_lines import checked, checked_line

DIGEST = "sha256:" + 64 * "0"
BOX = '{"box":{"left":10.0,"top":20.0,"right":110.13,"bottom":120.0},"confidence":1.03955138,"level":0'
ENCODING = f'"encoding":[{",".join(["0.0625"] * 128)}]}}'
FILE = f'{{"path":"PATH","digest":"{DIGEST}"'
READ = f'{FILE},"size":3,"modified":7,"fingerprint":"0123456789abcdef"'
COMPUTED = f'{READ},"computed_by":{{"engine":"onnx","device":"cpu","version":"0.1.0"}}'
UPRIGHT = '"width":300,"height":200,"orientation":1'
DECIDED = '"detector":"cnn","turned":0'
SERVED = '],"server":"attic","seconds":0.5}'
FAILED = '"server":"attic","error":{"code":"image-truncated","message":"it is cut off"}}'

FORMER = {
    "first": f'{FILE},{UPRIGHT},"faces":[{BOX},{ENCODING}{SERVED}',
    "first, failed": f"{FILE},{FAILED}",
    "with the file": f'{READ},{UPRIGHT},"faces":[{BOX},{ENCODING}{SERVED}',
    "with the file, failed": f"{READ},{FAILED}",
    "with quality": f'{READ},{UPRIGHT},"faces":[{BOX},"quality":{{"size":100.0,"sharpness":0.6,"comparable":true}},'
    f"{ENCODING}{SERVED}",
    "with the detector": f'{READ},{UPRIGHT},"faces":[{BOX},{DECIDED},"quality":{{"size":100.0,"sharpness":0.6,'
    f'"comparable":true}},{ENCODING}{SERVED}',
    "with what computed it": f'{COMPUTED},{UPRIGHT},"faces":[{BOX},{DECIDED},"quality":{{"size":100.0,"sharpness":0.6,'
    f'"inside":1.0,"comparable":true}},{ENCODING}{SERVED}',
    "with what computed it, failed": f"{COMPUTED},{FAILED}",
    "without faces": f'{COMPUTED},{UPRIGHT},"faces":[{SERVED}',
    "never answered": '{"path":"PATH","digest":null,"size":null,"modified":null,"fingerprint":null,"computed_by":null,'
    '"server":null,"error":{"code":"unreadable","message":"cannot be read: Input/output error"}}',
}
"""Lines as earlier versions wrote them."""


def same_where_known(was: object, now: object) -> None:
    """All that was known is as before, at its place."""
    if isinstance(was, dict):
        assert isinstance(now, dict)
        for key, value in was.items():
            same_where_known(value, now[key])
    elif isinstance(was, list):
        assert isinstance(now, list)
        for one, other in zip(was, now, strict=True):
            same_where_known(one, other)
    else:
        assert (type(was), was) == (type(now), now)


@pytest.mark.parametrize("name", FORMER)
def test_a_line_of_an_earlier_version_gets_every_key_and_keeps_what_it_had(name: str) -> None:
    former: dict[str, Any] = json.loads(FORMER[name])
    now = completed(former)
    assert tuple(now) == KEYS
    checked_line(json.dumps(now))
    same_where_known(former, now)
    assert completed(now) == now


def test_the_keys_are_those_that_are_written_today() -> None:
    now: Any = completed(json.loads(FORMER["with what computed it"]))
    assert tuple(now["faces"][0]) == FACE_KEYS
    assert tuple(now["faces"][0]["quality"]) == QUALITY_KEYS


def test_the_picture_that_an_earlier_version_searched_was_the_first() -> None:
    now: Any = completed(json.loads(FORMER["with what computed it"]))
    assert now["pages"] == [{"page": 0, "width": 300, "height": 200, "orientation": 1}]
    assert (now["pictures"], now["unread"], now["faces"][0]["page"]) == (None, [], 0)
    failed: Any = completed(json.loads(FORMER["with what computed it, failed"]))
    assert (failed["pictures"], failed["pages"], failed["unread"]) == (None, [], [])


@pytest.mark.parametrize(
    "raw", [b"/p/a\xff.jpg", b"/p/\xed\xa0\x80.jpg", b"/p/\xed\xb3\xbf.jpg", "/p/ü.jpg".encode()]
)
def test_a_path_with_lone_surrogates_becomes_unicode_and_bytes(raw: bytes) -> None:
    former = json.loads(FORMER["without faces"].replace("PATH", json.dumps(os.fsdecode(raw))[1:-1]))
    now = checked_line(json.dumps(completed(former)))
    assert (now["path_bytes"] is None) == (raw == "/p/ü.jpg".encode())


def test_keys_of_another_program_stay_behind_those_of_pyraface() -> None:
    former = json.loads(FORMER["without faces"])
    now = completed({"album": "2024", **former})
    assert tuple(now) == (*KEYS, "album")
    assert now["album"] == "2024"


@pytest.mark.parametrize("faces", ['{"box":{}}', "3", '[["box"]]', "null"])
def test_faces_that_are_none_are_an_error(faces: str) -> None:
    with pytest.raises(ValueError, match="faces"):
        completed({**json.loads(FORMER["without faces"]), "faces": json.loads(faces)})


def resumed(output: Path, *, finish: bool = True) -> list[str]:
    """Runs over an output without any image; returns what is said of it."""
    with Journal(str(output)) as journal:
        journal.load()
        said = journal.begin({"0123456789abcdef"})
        if finish:
            journal.finish()
    return said


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output with a line of each earlier version."""
    lines = [line.replace("PATH", f"/p/{number}\\udcff.jpg") for number, line in enumerate(FORMER.values())]
    path = tmp_path / "faces.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_an_output_of_earlier_versions_is_completed_at_the_end_of_a_run_and_nothing_is_done_again(
    output: Path,
) -> None:
    before = output.read_bytes()
    said = ["5 images done, 2 failed (--retry-failed retries them), 2 without a result (retried)"]
    assert [line.partition(": ")[2] for line in resumed(output, finish=False)][:1] == said
    assert output.read_bytes() == before
    resumed(output)
    lines = checked(output.read_bytes())
    for was, now in zip(map(json.loads, before.splitlines()), lines, strict=True):
        assert now["path"] == was.pop("path").replace("\udcff", "\ufffd")
        same_where_known(was, now)
    after = output.stat()
    assert [line.partition(": ")[2] for line in resumed(output)][:1] == said
    assert output.stat() == after, "it is not written once more"


def test_a_line_of_today_is_left_as_it_is(output: Path) -> None:
    whole = completed(json.loads(FORMER["with what computed it"]))
    today = json.dumps(whole, separators=(",", ":")).replace('"level":0', '"level": 0').encode() + b"\n"
    former = FORMER["without faces"].replace("PATH", "/p/former.jpg").encode() + b"\n"
    output.write_bytes(today + former + today.replace(b"PATH", b"/p/more"))
    resumed(output)
    lines = output.read_bytes().splitlines(keepends=True)
    assert [lines[0], lines[2]] == [today, today.replace(b"PATH", b"/p/more")]
    checked(output.read_bytes())


def test_a_former_line_whose_faces_are_damaged_is_named_and_nothing_is_changed(output: Path) -> None:
    lines = output.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"encoding":[', b'"encoding":[x')
    output.write_bytes(b"".join(lines))
    with pytest.raises(OutputError, match=r"faces\.jsonl: line 3 "):
        resumed(output)
    assert output.read_bytes() == b"".join(lines)

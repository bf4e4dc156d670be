"""Listing: each parameter once, with its value and where that comes from, in 80 columns."""

from __future__ import annotations

import json

import pytest

from pyraface.core.parameters import Listing, parse
from pyraface.core.parameters.listing import OPTIONS
from pyraface.core.parameters.reader import ENVIRONMENT
from pyraface.core.parameters.schema import Parameters, described

PARAMETERS = parse(
    b"""<params>
    <tiled_detect_params><upsample>1</upsample><height>300</height><width>500</width></tiled_detect_params>
    <ports><server_port_image_handle>6000</server_port_image_handle><server_port_ip_disc>6001</server_port_ip_disc></ports>
    <timeout><connect_timeout>3</connect_timeout><read_timeout>60</read_timeout></timeout>
    <beacon><interfaces> lo,eth0 </interfaces></beacon>
</params>""",
    source="/home/me/mine.xml",
)


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)


def listing(**more: object) -> Listing:
    return Listing(parameters=PARAMETERS, **{"named": False, **more})  # type: ignore[arg-type]


def test_every_element_of_the_file_is_listed_once() -> None:
    found = [(setting.section, setting.name) for setting in listing().settings()]
    assert found == [
        (item.name, value.name) for _, item in described(Parameters) for _, value in described(item.kind)
    ]


@pytest.mark.parametrize(
    ("line", "section"),
    [
        ("  height                       300         file", "tiled_detect_params"),
        ("  levels                       2           default", "tiled_detect_params"),
        ("  read_timeout                 60.0        file", "timeout"),  # stated, even if it is the default
        ("  interfaces                   lo,eth0     file", "beacon"),
        ("  server_port_image_handle     7000        --port", "ports"),
        ("  engine_threads               0           default   2: one for each core", "daemon"),
        ("  host                         127.0.0.1   --host", OPTIONS),
    ],
)
def test_a_line_has_the_value_and_where_it_comes_from(line: str, section: str) -> None:
    lines = listing(
        options={"ports/server_port_image_handle": ("--port", 7000)},
        further=[("host", "127.0.0.1", "--host")],
        chosen={"daemon/engine_threads": "2: one for each core"},
    ).lines()
    assert line in lines[lines.index(section) :]
    assert max(map(len, lines)) <= 80


def test_the_first_line_says_how_the_file_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert listing().lines()[0] == "file: /home/me/mine.xml (a usual place)"
    assert listing(named=True).lines()[0] == "file: /home/me/mine.xml (--parameters)"
    monkeypatch.setenv(ENVIRONMENT, "/home/me/mine.xml")
    assert listing().lines()[0] == f"file: /home/me/mine.xml ({ENVIRONMENT})"


def test_a_program_gets_values_and_not_their_texts() -> None:
    found = json.loads(listing(chosen={"tiled_detect_params/search": "guided"}).json_line())
    assert (found["file"], found["named_by"], found["packaged"]) == ("/home/me/mine.xml", None, False)
    assert found["tiled_detect_params"]["screening"] == {"value": True, "from": "default", "automatic": None}
    assert found["tiled_detect_params"]["search"] == {
        "value": "auto",
        "from": "default",
        "automatic": "guided",
    }
    assert found["beacon"]["interfaces"]["value"] == ["lo", "eth0"]
    assert found["timeout"]["connect_timeout"] == {"value": 3.0, "from": "file", "automatic": None}

"""core/parameters and parameters.xml: files that load, files that are refused, and the error messages."""

from __future__ import annotations

import os
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyraface.core.errors import ParametersError
from pyraface.core.parameters import (
    BeaconParameters,
    DaemonParameters,
    DetectionParameters,
    EncodingParameters,
    FusionParameters,
    ImageLimits,
    Parameters,
    Ports,
    SecurityParameters,
    Timeouts,
    load,
    parse,
    reader,
)

ORIGINAL = b"""<params>
    <tiled_detect_params><upsample>1</upsample><height>300</height><width>500</width></tiled_detect_params>
    <ports>
        <server_port_image_handle>6000</server_port_image_handle>
        <server_port_ip_disc>6001</server_port_ip_disc>
        <client_return_port>6002</client_return_port>
    </ports>
    <timeout><connect_timeout>3</connect_timeout><read_timeout>30</read_timeout></timeout>
</params>"""
PACKAGED = Path(__file__).resolve().parent.parent.parent.parent / "parameters.xml"


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No file of the machine that runs the tests is read: the usual places lie in an empty folder."""
    monkeypatch.delenv("PYRAFACE_PARAMETERS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def with_section(xml: bytes) -> bytes:
    return ORIGINAL.replace(b"</params>", xml + b"</params>")


def configure(tmp_path: Path, xml: bytes) -> Path:
    """Lays a file where $XDG_CONFIG_HOME has it."""
    path = tmp_path / "config" / "pyraface" / "parameters.xml"
    path.parent.mkdir(parents=True)
    path.write_bytes(xml)
    return path


# what loads


def test_the_packaged_file_holds_the_defaults_of_the_dataclasses() -> None:
    loaded = parse(PACKAGED.read_bytes())
    assert loaded == Parameters(
        source="",
        stated=frozenset(),
        detection=DetectionParameters(),
        fusion=FusionParameters(),
        encoding=EncodingParameters(),
        images=ImageLimits(),
        ports=Ports(),
        timeouts=Timeouts(),
        daemon=DaemonParameters(),
        beacon=BeaconParameters(),
        security=SecurityParameters(),
    )


def elements_known() -> dict[str, set[str]]:
    return {
        section.metadata["value"].name: {
            item.metadata["value"].name for item in fields(section.metadata["value"].kind)
        }
        for section in fields(Parameters)
        if section.metadata
    }


def test_the_packaged_file_holds_every_element_and_no_other() -> None:
    root = ElementTree.fromstring(PACKAGED.read_bytes())
    assert {section.tag: {item.tag for item in section} for section in root} == elements_known()


def test_the_packaged_file_explains_every_element() -> None:
    text = PACKAGED.read_text()
    for section, names in elements_known().items():
        for name in {section, *names} - {"width"}:  # height's comment is about both
            assert re.search(rf"-->\s*<{name}>", text), f"no comment stands before <{name}>"


def test_a_file_written_for_the_original_program_loads_unchanged() -> None:
    loaded = parse(ORIGINAL)
    assert loaded.detection == DetectionParameters(height=300, width=500, upsample=1, levels=2)
    assert loaded.ports == Ports(images=6000, discovery=6001, client_return=6002)
    assert loaded.timeouts == Timeouts(connect=3, read=30)
    assert (loaded.fusion, loaded.daemon) == (FusionParameters(), DaemonParameters())


def test_the_elements_that_a_file_states_are_told_apart_from_the_defaults() -> None:
    loaded = parse(with_section(b"<fusion/><beacon><interval>5</interval></beacon>"), source="here")
    assert loaded.source == "here"
    assert loaded.stated == {
        *(f"tiled_detect_params/{name}" for name in ("upsample", "height", "width")),
        *(
            f"ports/{name}"
            for name in ("server_port_image_handle", "server_port_ip_disc", "client_return_port")
        ),
        *("timeout/connect_timeout", "timeout/read_timeout", "beacon/interval"),
    }


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (b"<beacon><interfaces>auto</interfaces></beacon>", BeaconParameters()),
        (b"<beacon><interfaces/><name/></beacon>", BeaconParameters()),
        (b"<beacon><interfaces> lo </interfaces></beacon>", BeaconParameters(interfaces=("lo",))),
        (
            b"<beacon><interfaces>\n eth0,\n br-1.2:0 </interfaces></beacon>",
            BeaconParameters(interfaces=("eth0", "br-1.2:0")),
        ),
        ("<beacon><name>Büro, 2. Stock</name></beacon>".encode(), BeaconParameters(name="Büro, 2. Stock")),
        (b"<beacon><interval>.5</interval></beacon>", BeaconParameters(interval=0.5)),
        (b"<beacon><interval>1e3</interval></beacon>", BeaconParameters(interval=1000.0)),
        (
            b"<beacon unit='s'><!-- a --><interval b='c'>+<!-- d -->7</interval></beacon>",
            BeaconParameters(interval=7.0),
        ),
        (b"<beacon/>", BeaconParameters()),
    ],
)
def test_values_are_read_as_a_person_means_them(xml: bytes, expected: BeaconParameters) -> None:
    assert parse(with_section(xml)).beacon == expected


@pytest.mark.parametrize(
    "xml",
    [
        b"\xef\xbb\xbf" + ORIGINAL,
        b'<?xml version="1.0"?>\r\n<!-- x -->' + ORIGINAL.replace(b"\n", b"\r\n"),
        b'<?xml version="1.0" encoding="ISO-8859-1"?>' + ORIGINAL,
        ORIGINAL + b"\n<!-- end -->\n",
    ],
    ids=["byte order mark", "declaration and CRLF", "claims another encoding", "comment at the end"],
)
def test_what_editors_do_to_a_file_does_no_harm(xml: bytes) -> None:
    assert parse(xml) == parse(ORIGINAL)


def bounds() -> list[tuple[str, str, Any]]:
    return [
        (section.metadata["value"].name, section.name, item)
        for section in fields(Parameters)
        if section.metadata
        for item in fields(section.metadata["value"].kind)
        if hasattr(item.metadata["value"], "low")
    ]


@pytest.mark.parametrize(
    ("element", "section", "item"), bounds(), ids=lambda value: getattr(value, "name", None)
)
def test_every_number_has_bounds_that_are_kept(element: str, section: str, item: Any) -> None:
    """Through the packaged file, one value changed; sections that bound values together are kept content."""
    value = item.metadata["value"]

    def changed(text: str) -> bytes:
        root = ElementTree.fromstring(PACKAGED.read_bytes())
        together = {"same_overlap": [("doubtful_overlap", "0")], "doubtful_overlap": [("same_overlap", "1")]}
        smallest = (
            [("height", "16"), ("width", "16"), ("upsample", "0")] if element == "tiled_detect_params" else []
        )
        for name, kept in [*smallest, *together.get(value.name, []), (value.name, text)]:
            found = root.find(f"{element}/{name}")
            assert found is not None
            found.text = kept
        return ElementTree.tostring(root)

    for within in (value.low, value.high):
        assert getattr(getattr(parse(changed(repr(within))), section), item.name) == within
    past = [value.low - 1, value.high + 1, 10**30]
    for text in [*map(repr, past), "nan", "inf", "-inf", "1e999", "", "two", "0x10", "1_0", "1,5", "٢"]:
        with pytest.raises(ParametersError, match=f"params/{element}/{value.name} is "):
            parse(changed(text))


@pytest.mark.parametrize("name", ["reduced_decoding", "screening"])
@pytest.mark.parametrize(("text", "expected"), [(b"1", True), (b" 0 ", False)])
def test_a_flag_is_a_boolean_that_the_file_has_as_1_or_0(name: str, text: bytes, expected: bool) -> None:
    element = b"<%b>%b</%b>" % (name.encode(), text, name.encode())
    xml = ORIGINAL.replace(b"</tiled_detect_params>", element + b"</tiled_detect_params>")
    assert getattr(parse(xml).detection, name) is expected


@pytest.mark.parametrize("landmarks", [5, 68])
def test_the_number_of_landmarks_is_one_of_two(landmarks: int) -> None:
    xml = with_section(f"<encoding><landmarks>{landmarks}</landmarks></encoding>".encode())
    assert parse(xml).encoding.landmarks == landmarks


@pytest.mark.parametrize(
    ("xml", "keyed"),
    [
        (b"", True),
        (b"<security/>", True),
        (b"<security><authentication> key </authentication></security>", True),
        (b"<security><authentication>none</authentication></security>", False),
    ],
)
def test_a_key_is_asked_for_unless_the_file_says_none(xml: bytes, keyed: bool) -> None:
    assert parse(with_section(xml)).security.keyed is keyed


def test_a_section_cannot_be_changed() -> None:
    loaded = parse(ORIGINAL)
    for value in [loaded, *(getattr(loaded, item.name) for item in fields(loaded) if item.metadata)]:
        assert is_dataclass(value)
        with pytest.raises(AttributeError):
            setattr(value, fields(value)[0].name, 1)


def test_the_budget_of_a_tile_is_its_pixels_after_upsampling() -> None:
    assert DetectionParameters().tile_pixels == 600 * 400 * 16 == 3_840_000


# what is refused

BOMB = b'<!DOCTYPE params [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
PORT = b"<server_port_ip_disc>6001</server_port_ip_disc>"


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (b"", "f.xml: is empty; it must hold <params>"),
        (b" \n", "f.xml: is empty; it must hold <params>"),
        (b"height = 600", "f.xml: is not XML: syntax error: line 1, column 0"),
        (ORIGINAL[:-3], "f.xml: is not XML: unclosed token: line 9, column 0"),
        (ORIGINAL + b"<more/>", "f.xml: is not XML: junk after document element: line 9, column 9"),
        (ORIGINAL.decode().encode("utf-16"), "f.xml: is not UTF-8: byte 0xff at 0"),
        (b"<params>\xfcber</params>", "f.xml: is not UTF-8: byte 0xfc at 8"),
        (b"<parameters/>", "f.xml: begins with <parameters>; it must be <params>"),
        (
            ORIGINAL.replace(b"<params>", b'<params xmlns="urn:x">'),
            "f.xml: begins with <{urn:x}params>; it must be <params>",
        ),
        (
            BOMB + ORIGINAL.replace(b"6000", b"&b;"),
            "f.xml: holds a document type or entities (<!DOCTYPE>): not allowed",
        ),
        (
            b'<!DOCTYPE params SYSTEM "http://localhost/x">' + ORIGINAL,
            "f.xml: holds a document type or entities (<!DOCTYPE>): not allowed",
        ),
        (
            b'<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + ORIGINAL.replace(b"6000", b"&x;"),
            "f.xml: holds a document type or entities (<!DOCTYPE>): not allowed",
        ),
        (b"<params>" + b"<a>" * 140_000, "f.xml: is not XML: no element found: line 1, column 420008"),
        (b"<params>" + b" " * (1 << 20), "f.xml: is larger than 1048576 bytes: this is no parameters file"),
        (b"<params/>", "f.xml: params/tiled_detect_params is missing"),
        (
            ORIGINAL.replace(PORT, b""),
            "f.xml: params/ports/server_port_ip_disc is missing: the UDP port for finding servers, "
            "a whole number from 1 to 65535",
        ),
        (
            ORIGINAL.replace(PORT, PORT + PORT),
            "f.xml: params/ports/server_port_ip_disc is there twice; once is allowed",
        ),
        (with_section(b"<ports/>"), "f.xml: params/ports is there twice; once is allowed"),
        (
            ORIGINAL.replace(b"6001", b"70000"),
            "f.xml: params/ports/server_port_ip_disc is '70000'; it must be a whole number from 1 to 65535",
        ),
        (
            ORIGINAL.replace(b"6001", b"9" * 300_000),
            f"f.xml: params/ports/server_port_ip_disc is '{'9' * 37}...'; it must be a whole number from 1 to 65535",
        ),
        (
            ORIGINAL.replace(b"6001", b"60\n01"),
            r"f.xml: params/ports/server_port_ip_disc is '60\n01'; it must be a whole number from 1 to 65535",
        ),
        (
            ORIGINAL.replace(b"6001", b"<a>6001</a>"),
            "f.xml: params/ports/server_port_ip_disc holds <a>; it must be a whole number from 1 to 65535",
        ),
        (
            ORIGINAL.replace(b"<ports>", b"<ports>see below"),
            "f.xml: params/ports holds the text 'see below' outside of its elements",
        ),
        (
            ORIGINAL.replace(b"</ports>", b"</ports>;"),
            "f.xml: params holds the text ';' outside of its elements",
        ),
        (
            ORIGINAL.replace(b"height>", b"Heigth>"),
            "f.xml: params/tiled_detect_params holds <Heigth>, which is unknown: did you mean <height>?",
        ),
        (
            ORIGINAL.replace(b"<ports>", b"<ports><read_timeout>6</read_timeout>"),
            "f.xml: params/ports holds <read_timeout>, which is unknown here: it belongs in params/timeout",
        ),
        (
            ORIGINAL.replace(b"<timeout>", b"<timeout><zzz/>"),
            "f.xml: params/timeout holds <zzz>, which is unknown; allowed are connect_timeout, drain_timeout, "
            "frame_timeout, handshake_timeout, idle_timeout, image_timeout, read_timeout, slow_timeout",
        ),
        (
            with_section(b"<" + b"n" * 9000 + b"/>"),
            f"f.xml: params holds <{'n' * 37}...>, which is unknown; allowed are beacon, daemon, encoding, fusion, images, "
            "ports, security, tiled_detect_params, timeout",
        ),
        (
            ORIGINAL.replace(b"<height>300", b"<height>20000").replace(b">500<", b">20000<"),
            "f.xml: params/tiled_detect_params asks for tiles of 1600.0 Mpx (height 20000 * width 20000 * "
            "4^upsample 1); at most 100 Mpx is allowed: lower one of the three",
        ),
        (
            with_section(b"<fusion><doubtful_overlap>.6</doubtful_overlap></fusion>"),
            "f.xml: params/fusion has doubtful_overlap 0.6 above same_overlap 0.5; lower doubtful_overlap or "
            "raise same_overlap",
        ),
        (
            with_section(b"<encoding><landmarks>20</landmarks></encoding>"),
            "f.xml: params/encoding/landmarks is '20'; it must be 5 or 68",
        ),
        (
            ORIGINAL.replace(b"</tiled_detect_params>", b"<screening>2</screening></tiled_detect_params>"),
            "f.xml: params/tiled_detect_params/screening is '2'; it must be 0 or 1",
        ),
        (
            ORIGINAL.replace(b"</tiled_detect_params>", b"<adaptive>0</adaptive></tiled_detect_params>"),
            "f.xml: params/tiled_detect_params holds <adaptive>, which was removed: delete it; "
            "<search>guided</search> takes its place",
        ),
        (
            with_section(b"<security><authentication>None</authentication></security>"),
            "f.xml: params/security/authentication is 'None'; it must be key or none",
        ),
        (
            with_section(b"<beacon><name>" + b"x" * 65 + b"</name></beacon>"),
            f"f.xml: params/beacon/name is '{'x' * 37}...'; it must be at most 64 printable characters on one line",
        ),
        (
            with_section(b"<beacon><name>a\xe2\x80\xaeb</name></beacon>"),
            r"f.xml: params/beacon/name is 'a\u202eb'; it must be at most 64 printable characters on one line",
        ),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else None,
)
def test_a_mistake_is_told_in_one_line_with_its_place(xml: bytes, message: str) -> None:
    with pytest.raises(ParametersError) as raised:
        parse(xml, source="f.xml")
    assert str(raised.value) == message


SIXTY_FIVE = ",".join(f"e{n}" for n in range(65))


@pytest.mark.parametrize(
    "names",
    [
        "eth0,,eth1",
        "eth0,",
        "eth0 wlan0",
        "auto,eth0",
        "eth0,eth0",
        "a" * 16,
        "../etc",
        "eth\x7f",
        "é",
        SIXTY_FIVE,
    ],
)
def test_interfaces_that_cannot_be_are_refused(names: str) -> None:
    with pytest.raises(
        ParametersError, match=r"params/beacon/interfaces is .* must be auto, or up to 64 names"
    ):
        parse(with_section(f"<beacon><interfaces>{names}</interfaces></beacon>".encode()))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_file_gives_parameters_or_one_line(data: st.DataObject) -> None:
    xml = bytearray(PACKAGED.read_bytes() if data.draw(st.booleans()) else ORIGINAL)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(xml)))
        xml[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=8))
    message = "f.xml: nothing wrong"
    try:
        parse(bytes(xml), source="f.xml")
    except ParametersError as error:
        message = str(error)
    assert message.startswith("f.xml: ")
    assert message.isprintable()
    assert len(message) < 400


# where it is looked for


def test_without_any_file_the_packaged_one_is_loaded() -> None:
    if os.path.lexists("/etc/pyraface/parameters.xml"):
        pytest.skip("this machine has an /etc/pyraface/parameters.xml")
    loaded = load()
    assert loaded == parse(PACKAGED.read_bytes())
    assert not loaded.stated
    assert loaded.source.endswith("pyraface/parameters.xml")


def test_the_places_are_tried_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configured = configure(tmp_path, ORIGINAL)
    assert load().source == str(configured)
    named = tmp_path / "named.xml"
    named.write_bytes(ORIGINAL)
    monkeypatch.setenv("PYRAFACE_PARAMETERS", str(named))
    assert load().source == str(named)
    argument = tmp_path / "argument.xml"
    argument.write_bytes(ORIGINAL)
    assert load(argument).source == str(argument)


def test_an_empty_variable_names_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYRAFACE_PARAMETERS", "")
    assert load().source != ""
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".config" / "pyraface" / "parameters.xml"
    path.parent.mkdir(parents=True)
    path.write_bytes(ORIGINAL)
    assert load().source == str(path)


def test_the_places_are_tried_by_a_process_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it is for a user that has no entry
    assert list(reader._usual_places()) == ["/etc/pyraface/parameters.xml"]


@pytest.mark.parametrize("by", ["argument", "environment"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.xml", "No such file or directory"),
        ("folder", "Is a directory"),
        ("dangling.xml", "No such file or directory"),
    ],
)
def test_a_named_file_that_cannot_be_read_is_no_reason_to_take_another(
    by: str, name: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configure(tmp_path, ORIGINAL)
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling.xml").symlink_to("nowhere")
    path = tmp_path / name
    monkeypatch.setenv("PYRAFACE_PARAMETERS", str(path if by == "environment" else tmp_path / "other.xml"))
    with pytest.raises(ParametersError) as raised:
        load(path if by == "argument" else None)
    assert str(raised.value) == f"{path}: cannot be read: {reason}"


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_that_no_file_can_have_is_an_error(name: str) -> None:
    with pytest.raises(ParametersError):
        load(name)


def test_a_file_in_a_usual_place_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "pyraface"
    folder.mkdir(parents=True)
    (folder / "parameters.xml").symlink_to("nowhere")
    with pytest.raises(ParametersError, match=re.escape(str(folder))):
        load()


def test_a_mistake_in_a_usual_place_is_told_with_its_path(tmp_path: Path) -> None:
    path = configure(tmp_path, b"<params/>")
    with pytest.raises(ParametersError, match=re.escape(f"{path}: params/tiled_detect_params is missing")):
        load()


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no /dev/zero")
def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(ParametersError, match="is larger than 1048576 bytes"):
        load("/dev/zero")

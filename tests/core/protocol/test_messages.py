from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pyraface.core.errors import ErrorCode
from pyraface.core.protocol import announcement, messages, wire
from pyraface.core.protocol.messages import MAX_TEXT, MESSAGES, PROTOCOL_VERSIONS, Closing, Failed, Hello
from tests.core.protocol import vectors

KINDS = [*MESSAGES, announcement.Probe, announcement.Announcement, announcement.Goodbye]

SPECIFIED = {
    "int": "whole",
    "Positive": "whole, at least 1",
    "Pixels": "whole, 0 to 1000",
    "Annotated[int, range(1, 9)]": "whole, 1 to 8",
    "Annotated[int, range(1, 65536)]": "whole, 1 to 65535",
    "float": "number",
    "str": "text",
    "bytes": "bytes",
    "ImageBytes": "bytes",
    "Bytes32": "32 bytes",
    "bool": "flag",
    "ErrorCode": "code",
    "tuple[int, ...]": "list of whole",
    "tuple[str, ...]": "list of text",
    "Faces": "faces",
    "GivenBoxes": "given boxes",
    "tuple[Page, ...]": "pages",
}


def test_messages_are_all_there_and_each_has_a_type_of_its_own() -> None:
    here = {
        value
        for value in vars(messages).values()
        if isinstance(value, type)
        and dataclasses.is_dataclass(value)
        and value.__module__ == messages.__name__
    }
    assert set(MESSAGES) == here
    assert len({kind.type for kind in MESSAGES}) == len(MESSAGES)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
def test_the_specification_lists_every_field_with_its_kind_in_order(kind: Any) -> None:
    expected = [(field.name, SPECIFIED[str(field.type)]) for field in dataclasses.fields(kind)]
    assert vectors.fields(kind.type) == expected


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
def test_messages_cannot_be_changed(kind: Any) -> None:
    assert kind.__dataclass_params__.frozen


def test_the_specification_lists_every_error_code_and_whether_to_go_elsewhere() -> None:
    specified = [(code, elsewhere) for code, _, elsewhere in vectors.error_codes()]
    assert specified == [(code.value, "yes" if code.elsewhere else "no") for code in ErrorCode]


def test_the_specification_says_where_every_error_code_travels() -> None:
    assert {place for _, place, _ in vectors.error_codes()} == {"failed", "closing", "-"}


def test_the_specification_is_of_the_preferred_version() -> None:
    title = vectors.DOCUMENT.read_text(encoding="utf-8").splitlines()[0]
    assert title == f"# The pyraface protocol, version {PROTOCOL_VERSIONS[-1]}"
    assert list(PROTOCOL_VERSIONS) == sorted(PROTOCOL_VERSIONS)
    assert wire.encode(Hello(PROTOCOL_VERSIONS, "", bytes(32)))


@pytest.mark.parametrize("number", [MAX_TEXT, 4 * MAX_TEXT, wire.MAX_ITEMS, wire.MAX_CONTAINERS])
def test_the_specification_names_the_limits(number: int) -> None:
    assert f" {number} " in vectors.DOCUMENT.read_text(encoding="utf-8").replace("\n", " ")


@pytest.mark.parametrize("code", ErrorCode)
def test_an_answer_says_whether_another_server_may_do_better(code: ErrorCode) -> None:
    assert Failed.because(7, code, "why") == Failed(7, code, "why", code.elsewhere)
    assert not Failed.because(7, code, "why", elsewhere=False).elsewhere


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("", ""),
        ("x" * MAX_TEXT, "x" * MAX_TEXT),
        ("x" * (MAX_TEXT + 1), "x" * MAX_TEXT),
        ("\U0001f600" * 2000, "\U0001f600" * MAX_TEXT),
        ("photo-\udcff.jpg", "photo-?.jpg"),
    ],
    ids=["empty", "longest", "too long", "too long, 4 bytes each", "surrogate"],
)
def test_any_explanation_is_made_one_that_can_be_sent(text: str, sent: str) -> None:
    for message in (Failed.because(1, ErrorCode.BUSY, text), Closing.because(ErrorCode.BUSY, text)):
        assert message.message == sent
        assert wire.decode(wire.encode(message)[4:]) == message

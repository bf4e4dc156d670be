"""Who may say what, and when: rows over one table."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyraface.core.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from pyraface.core.faces import Faces
from pyraface.core.given_boxes import GivenBoxes
from pyraface.core.pages import Page
from pyraface.core.protocol.conversation import TRANSITIONS, Conversation, State
from pyraface.core.protocol.messages import (
    Cancel,
    Challenge,
    Closing,
    Detect,
    Draining,
    Encode,
    Failed,
    Found,
    Hello,
    Inquire,
    Message,
    Pair,
    Paired,
    Ping,
    Pong,
    Proof,
    Status,
    Welcome,
)
from pyraface.core.protocol.proofs import Role

C, S = Role.CLIENT, Role.SERVER

HELLO = Hello((1,), "test", bytes(32))
CHALLENGE = Challenge(1, bytes(32), bytes(32))
PROOF = Proof(bytes(32))
WELCOME = Welcome(1, "n", "i", "e", "d", "p", "v", "f", ("s",), ("f",), 1, 1, 1, 0.0, ())
DETECT = Detect(1, b"")
ENCODE = Encode(1, GivenBoxes.of([[1, 2, 3, 4]]), b"")
FOUND = Found(1, Faces.empty(), (Page(0, 1, 1, 1),), (), (), 1, 0.0)
FAILED = Failed.because(1, ErrorCode.BUSY, "")
STATUS = Status(1, "s", 0, 0, 1, 0, 0.0, 0.0, 0.0)
CLOSING = Closing.because(ErrorCode.IDLE, "")
PAIR, PAIRED = Pair("n", b""), Paired(b"")

EVERY: list[Message] = [
    *(HELLO, CHALLENGE, PROOF, WELCOME, DETECT, ENCODE, Cancel(1), FOUND, FAILED, Ping(1), Pong(1)),
    *(Inquire(1), STATUS, Draining(), CLOSING, PAIR, PAIRED),
]

Line = tuple[Role, Message]

PLAIN: list[Line] = [(C, HELLO), (S, CHALLENGE), (C, PROOF), (S, WELCOME)]
KEYLESS: list[Line] = [(C, HELLO), (S, WELCOME)]
PAIRING: list[Line] = [(C, PAIR), (S, PAIR), (C, PROOF), (S, PAIRED)]

REACHED: dict[State, list[Line]] = {
    State.START: [],
    State.GREETED: PLAIN[:1],
    State.CHALLENGED: PLAIN[:2],
    State.PROVED: PLAIN[:3],
    State.OPEN: PLAIN,
    State.DRAINING: [*PLAIN, (S, Draining())],
    State.PAIRING: [],
    State.OFFERED: PAIRING[:1],
    State.EXCHANGED: PAIRING[:2],
    State.GUESSED: PAIRING[:3],
    State.CLOSED: [(S, CLOSING)],
}
"""What is said until a state is reached."""


def after(lines: list[Line], role: Role, start: State = State.START) -> Conversation:
    """One end of a conversation in which these lines were spoken."""
    conversation = Conversation(role, start)
    for speaker, message in lines:
        (conversation.send if speaker is role else conversation.receive)(message)
    return conversation


def reached(state: State, role: Role) -> Conversation:
    pairing = state in (State.PAIRING, State.OFFERED, State.EXCHANGED, State.GUESSED)
    conversation = after(REACHED[state], role, State.PAIRING if pairing else State.START)
    assert conversation.state is state
    return conversation


@pytest.mark.parametrize("role", [C, S])
@pytest.mark.parametrize(
    ("lines", "start", "end"),
    [
        (PLAIN, State.START, State.OPEN),
        (KEYLESS, State.START, State.OPEN),
        ([*PLAIN, (C, DETECT), (S, FOUND)], State.START, State.OPEN),
        ([*PLAIN, (C, DETECT), (C, Cancel(1)), (S, FAILED), (C, DETECT)], State.START, State.OPEN),
        ([*PLAIN, (C, ENCODE), (S, FOUND), (C, DETECT), (S, FAILED)], State.START, State.OPEN),
        ([*PLAIN, (S, Draining()), (C, ENCODE), (S, FAILED)], State.START, State.DRAINING),
        ([*PLAIN, (C, Cancel(7))], State.START, State.OPEN),
        ([*PLAIN, (C, Ping(1)), (C, Ping(1)), (S, Pong(1)), (S, Pong(1))], State.START, State.OPEN),
        ([*PLAIN, (C, Inquire(1)), (C, Inquire(1)), (S, STATUS), (S, STATUS)], State.START, State.OPEN),
        ([*PLAIN, (C, DETECT), (C, Inquire(1)), (C, Ping(1)), (S, STATUS)], State.START, State.OPEN),
        ([*PLAIN, (C, DETECT), (S, Draining()), (S, FOUND)], State.START, State.DRAINING),
        ([*PLAIN, (S, Draining()), (C, DETECT), (S, FAILED)], State.START, State.DRAINING),
        ([*PLAIN, (C, DETECT), (C, CLOSING)], State.START, State.CLOSED),
        ([(S, CLOSING)], State.START, State.CLOSED),
        ([*PLAIN[:2], (C, CLOSING)], State.START, State.CLOSED),
        (PAIRING, State.PAIRING, State.CLOSED),
        ([*PAIRING[:3], (S, CLOSING)], State.PAIRING, State.CLOSED),
    ],
)
def test_what_follows_the_table_is_allowed_at_both_ends(
    lines: list[Line], start: State, end: State, role: Role
) -> None:
    assert after(lines, role, start).state is end


@pytest.mark.parametrize(
    ("state", "speaker", "message", "text"),
    [
        (State.START, C, DETECT, "the first message must be hello, not detect"),
        (State.START, C, PROOF, "the first message must be hello, not proof"),
        (State.START, C, Ping(1), "the first message must be hello, not ping"),
        (State.START, C, PAIR, "the first message must be hello, not pair"),
        (State.START, C, Draining(), "the first message must be hello, not draining"),
        (State.START, C, Cancel(1), "the first message must be hello, not cancel"),
        (State.START, S, Draining(), "the first message must be hello, not draining"),
        (State.GREETED, C, HELLO, "hello must be answered with challenge or welcome, not hello"),
        (State.GREETED, S, PROOF, "hello must be answered with challenge or welcome, not proof"),
        (State.CHALLENGED, C, DETECT, "challenge must be answered with proof, not detect"),
        (State.CHALLENGED, C, HELLO, "challenge must be answered with proof, not hello"),
        (State.CHALLENGED, C, Ping(1), "challenge must be answered with proof, not ping"),
        (State.PROVED, S, CHALLENGE, "proof must be answered with welcome, not challenge"),
        (State.OPEN, C, HELLO, "hello is not for a client to send now"),
        (State.OPEN, C, PROOF, "proof is not for a client to send now"),
        (State.OPEN, C, Pong(1), "pong is not for a client to send now"),
        (State.OPEN, C, FAILED, "failed is not for a client to send now"),
        (State.OPEN, C, Draining(), "draining is not for a client to send now"),
        (State.GREETED, C, ENCODE, "hello must be answered with challenge or welcome, not encode"),
        (State.OPEN, S, ENCODE, "encode is not for a server to send now"),
        (State.OPEN, S, DETECT, "detect is not for a server to send now"),
        (State.OPEN, S, WELCOME, "welcome is not for a server to send now"),
        (State.PAIRING, C, HELLO, "the first message must be pair, not hello"),
        (State.PAIRING, C, Ping(1), "the first message must be pair, not ping"),
        (State.PAIRING, C, PROOF, "the first message must be pair, not proof"),
        (State.PAIRING, C, PAIRED, "the first message must be pair, not paired"),
        (State.OFFERED, S, PAIRED, "pair must be answered with pair, not paired"),
        (State.EXCHANGED, C, PAIR, "pair must be followed by proof, not pair"),
        (State.GUESSED, S, PAIR, "proof must be answered with paired, not pair"),
        (State.CLOSED, C, DETECT, "detect is not for a client to send now"),
        (State.CLOSED, S, CLOSING, "closing is not for a server to send now"),
    ],
)
def test_what_is_not_in_the_table_is_an_unexpected_message(
    state: State, speaker: Role, message: Message, text: str
) -> None:
    listener = reached(state, S if speaker is C else C)
    with pytest.raises(RemoteProtocolError) as caught:
        listener.receive(message)
    assert str(caught.value) == text
    assert caught.value.code is ErrorCode.UNEXPECTED_MESSAGE
    assert listener.state is state
    with pytest.raises(LocalProtocolError):
        reached(state, speaker).send(message)


@pytest.mark.parametrize(
    ("lines", "speaker", "message", "text", "code"),
    [
        ([*PLAIN, (C, DETECT)], C, DETECT, "detect.id: 1 waits for its answer already", ErrorCode.BAD_FIELD),
        ([*PLAIN, (C, DETECT)], C, ENCODE, "encode.id: 1 waits for its answer already", ErrorCode.BAD_FIELD),
        ([*PLAIN, (C, ENCODE)], C, DETECT, "detect.id: 1 waits for its answer already", ErrorCode.BAD_FIELD),
        (PLAIN, S, FOUND, "found.id: 1 waits for no answer", ErrorCode.BAD_FIELD),
        ([*PLAIN, (C, Ping(1))], S, FAILED, "failed.id: 1 waits for no answer", ErrorCode.BAD_FIELD),
        (
            [*PLAIN, (C, DETECT), (S, FOUND)],
            S,
            FAILED,
            "failed.id: 1 waits for no answer",
            ErrorCode.BAD_FIELD,
        ),
        ([*PLAIN, (C, DETECT)], S, STATUS, "status.id: 1 waits for no answer", ErrorCode.BAD_FIELD),
        (
            [*PLAIN, (C, Inquire(1)), (S, STATUS)],
            S,
            STATUS,
            "status.id: 1 waits for no answer",
            ErrorCode.BAD_FIELD,
        ),
        (
            [],
            C,
            Hello((7, 8), "", bytes(32)),
            "this server speaks protocol version 1, the client 7, 8",
            ErrorCode.WRONG_VERSION,
        ),
        (
            [],
            C,
            Hello((), "", bytes(32)),
            "this server speaks protocol version 1, the client none",
            ErrorCode.WRONG_VERSION,
        ),
        (
            PLAIN[:1],
            S,
            Challenge(2, bytes(32), bytes(32)),
            "challenge.version: must be 1, not 2",
            ErrorCode.BAD_FIELD,
        ),
        (
            PLAIN[:1],
            S,
            Challenge(2**40, bytes(32), bytes(32)),
            "challenge.version: must be 1, not 1099511627776",
            ErrorCode.BAD_FIELD,
        ),
        (
            PLAIN[:3],
            S,
            Welcome(2, "n", "i", "e", "d", "p", "v", "f", ("s",), ("f",), 1, 1, 1, 0.0, ()),
            "welcome.version: must be 1, not 2",
            ErrorCode.BAD_FIELD,
        ),
    ],
)
def test_versions_and_ids_are_checked(
    lines: list[Line], speaker: Role, message: Message, text: str, code: ErrorCode
) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        after(lines, S if speaker is C else C).receive(message)
    assert (str(caught.value), caught.value.code) == (text, code)


def test_the_server_takes_the_highest_version_that_both_speak() -> None:
    conversation = after([(C, Hello((1, 7), "", bytes(32)))], S)
    assert conversation.version == 1


def test_the_rows_know_every_message_and_every_state() -> None:
    assert {type(message) for message in EVERY} == set(get_args(Message))
    assert set(REACHED) == set(TRANSITIONS) == set(State)


def test_every_message_has_its_place_in_the_table() -> None:
    placed = {kind for transitions in TRANSITIONS.values() for _, kind in transitions}
    assert placed == set(get_args(Message))


@given(
    role=st.sampled_from([C, S]),
    start=st.sampled_from([State.START, State.PAIRING]),
    lines=st.lists(st.tuples(st.sampled_from([C, S]), st.sampled_from(EVERY)), max_size=30),
)
def test_any_sequence_follows_the_table_or_ends_with_a_documented_code(
    role: Role, start: State, lines: list[Line]
) -> None:
    conversation = Conversation(role, start)
    for speaker, message in lines:
        before = conversation.state
        following = TRANSITIONS[before].get((speaker, type(message)))
        try:
            (conversation.send if speaker is role else conversation.receive)(message)
        except LocalProtocolError:
            assert speaker is role
        except RemoteProtocolError as error:
            code = error.code
            assert speaker is not role
            assert code in (ErrorCode.UNEXPECTED_MESSAGE, ErrorCode.BAD_FIELD, ErrorCode.WRONG_VERSION)
            assert (code is ErrorCode.UNEXPECTED_MESSAGE) == (following is None)
            return
        else:
            assert conversation.state is following

"""Conversation: the order of messages, as one table of transitions, without I/O and without a clock.

Both ends of a connection follow the same table, each in its role, and report every message to their Conversation:

    conversation = Conversation(Role.CLIENT)
    conversation.send(message)        # before it is sent; LocalProtocolError: a bug on this side
    conversation.receive(message)     # when it has arrived; RemoteProtocolError: the peer broke the rules

After a RemoteProtocolError, send `Closing` with its code and text, and close the connection.

    START      -> client: hello      -> GREETED
    GREETED    -> server: challenge  -> CHALLENGED, or welcome -> OPEN (a server without authentication)
    CHALLENGED -> client: proof      -> PROVED
    PROVED     -> server: welcome    -> OPEN
    OPEN       -> server: draining   -> DRAINING

Requests and answers are sent in OPEN and in DRAINING. A pairing is a conversation of its own, which begins in PAIRING: the
machine that asks for the key is its client. Either side may end either conversation with `closing` at any time.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum

from ..errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from .messages import (
    PROTOCOL_VERSIONS,
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
from .proofs import Role

MAX_GREETING_BYTES = 8192
"""Limit of a frame before the connection is open, and of every frame of a pairing: a peer that is not authenticated yet has
no claim on memory. The largest such frame is a welcome, with the parameters of its server: some 1000 bytes."""


class State(Enum):
    """The state of a conversation. The value names the messages that may follow."""

    START = "hello"
    GREETED = "challenge or welcome"
    CHALLENGED = "proof"
    PROVED = "welcome"
    OPEN = "requests and answers"
    DRAINING = "answers, and requests that are refused"
    PAIRING = "pair of the machine that asks"
    OFFERED = "pair of the machine that gives"
    EXCHANGED = "proof that the code is the same"
    GUESSED = "paired"
    CLOSED = "nothing"


_CLIENT, _SERVER = Role.CLIENT, Role.SERVER

Transitions = dict[tuple[Role, type[Message]], State]


def _requests(state: State) -> Transitions:
    """Returns the messages that do not change a state: requests of the client, and answers of the server."""
    return {
        **{(_CLIENT, kind): state for kind in (Detect, Encode, Cancel, Ping, Inquire)},
        **{(_SERVER, kind): state for kind in (Found, Failed, Pong, Status)},
    }


TRANSITIONS: dict[State, Transitions] = {
    State.START: {(_CLIENT, Hello): State.GREETED},
    State.GREETED: {(_SERVER, Challenge): State.CHALLENGED, (_SERVER, Welcome): State.OPEN},
    State.CHALLENGED: {(_CLIENT, Proof): State.PROVED},
    State.PROVED: {(_SERVER, Welcome): State.OPEN},
    State.OPEN: {**_requests(State.OPEN), (_SERVER, Draining): State.DRAINING},
    State.DRAINING: {**_requests(State.DRAINING), (_SERVER, Draining): State.DRAINING},
    State.PAIRING: {(_CLIENT, Pair): State.OFFERED},
    State.OFFERED: {(_SERVER, Pair): State.EXCHANGED},
    State.EXCHANGED: {(_CLIENT, Proof): State.GUESSED},
    State.GUESSED: {(_SERVER, Paired): State.CLOSED},
    State.CLOSED: {},
}
for _state, _transitions in TRANSITIONS.items():
    if _state is not State.CLOSED:
        _transitions |= {(_CLIENT, Closing): State.CLOSED, (_SERVER, Closing): State.CLOSED}

_RULES = {
    State.START: "the first message must be hello",
    State.GREETED: "hello must be answered with challenge or welcome",
    State.CHALLENGED: "challenge must be answered with proof",
    State.PROVED: "proof must be answered with welcome",
    State.PAIRING: "the first message must be pair",
    State.OFFERED: "pair must be answered with pair",
    State.EXCHANGED: "pair must be followed by proof",
    State.GUESSED: "proof must be answered with paired",
}


class Conversation:
    """One end of a connection's conversation.

    Args:
        role: of this end.
        state: the initial state: START or PAIRING.

    Attributes:
        state: the current state.
        version: of the protocol, chosen by the server; 0 before that.
        in_flight: the ids of requests without an answer.
    """

    def __init__(self, role: Role, state: State = State.START) -> None:
        self.state = state
        self.version = 0
        self.in_flight: set[int] = set()
        self._role = role
        self._peer = _SERVER if role is _CLIENT else _CLIENT
        self._offered: tuple[int, ...] = ()
        self._inquiries: Counter[int] = Counter()

    @property
    def open(self) -> bool:
        """Whether the greeting is over and the connection is not."""
        return self.state in (State.OPEN, State.DRAINING)

    def send(self, message: Message) -> None:
        """Takes note of a message that is about to be sent.

        Raises:
            LocalProtocolError: this side must not send it now.
        """
        if (problem := self._advance(self._role, message)) is not None:
            raise LocalProtocolError(*problem)

    def receive(self, message: Message) -> None:
        """Takes note of a message that has arrived.

        Raises:
            RemoteProtocolError: the peer must not send it now; code and text are for `Closing`.
        """
        if (problem := self._advance(self._peer, message)) is not None:
            raise RemoteProtocolError(*problem)

    def _advance(self, speaker: Role, message: Message) -> tuple[str, ErrorCode] | None:
        """Moves on to the next state, or returns the text and the code of an error and changes nothing."""
        following = TRANSITIONS[self.state].get((speaker, type(message)))
        if following is None:
            rule = _RULES.get(self.state)
            who = "client" if speaker is _CLIENT else "server"
            text = f"{rule}, not {message.type}" if rule else f"{message.type} is not for a {who} to send now"
            return text, ErrorCode.UNEXPECTED_MESSAGE
        if isinstance(message, Hello):
            problem = self._choose_version(message)
        elif isinstance(message, (Challenge, Welcome)):
            problem = self._check_version(message)
        else:
            problem = self._check_id(message)
        if problem is None:
            self.state = following
        return problem

    def _choose_version(self, hello: Hello) -> tuple[str, ErrorCode] | None:
        self._offered = hello.versions
        common = set(hello.versions) & set(PROTOCOL_VERSIONS)
        if not common:
            text = f"this server speaks protocol version {_listed(PROTOCOL_VERSIONS)}, the client {_listed(hello.versions)}"
            return text, ErrorCode.WRONG_VERSION
        self.version = max(common)
        return None

    def _check_version(self, message: Challenge | Welcome) -> tuple[str, ErrorCode] | None:
        chosen = (self.version,) if self.state is State.PROVED else self._offered
        if message.version not in chosen:
            text = f"{message.type}.version: must be {_listed(chosen)}, not {message.version}"
            return text, ErrorCode.BAD_FIELD
        self.version = message.version
        return None

    def _check_id(self, message: Message) -> tuple[str, ErrorCode] | None:
        if isinstance(message, (Detect, Encode)):
            if message.id in self.in_flight:
                return f"{message.type}.id: {message.id} waits for its answer already", ErrorCode.BAD_FIELD
            self.in_flight.add(message.id)
        elif isinstance(message, Inquire):
            self._inquiries[message.id] += 1
        elif isinstance(message, (Found, Failed, Status)):
            ids = self._inquiries if isinstance(message, Status) else self.in_flight
            if message.id not in ids:
                return f"{message.type}.id: {message.id} waits for no answer", ErrorCode.BAD_FIELD
            if not isinstance(message, Status):
                self.in_flight.remove(message.id)
            elif self._inquiries[message.id] == 1:
                del self._inquiries[message.id]
            else:
                self._inquiries[message.id] -= 1
        return None


def _listed(versions: tuple[int, ...]) -> str:
    return ", ".join(str(version) for version in versions) or "none"

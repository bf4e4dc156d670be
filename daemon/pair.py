"""Pairing desk: `pyraface-daemon pair` gives this user's key to one other machine, by a code that a person types there.

The code is valid for two minutes and one guess (`core.protocol.pairing` gives the reason). No running daemon is needed, and
a running one is not involved: the key is in a file that both read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence

from ..core.errors import ErrorCode, PairingError, RemoteProtocolError, ServerError
from ..core.host import keyfile
from ..core.host.interfaces import machine_name
from ..core.host.message_streams import read_message
from ..core.parameters import Parameters
from ..core.protocol import wire
from ..core.protocol.announcement import Announcement
from ..core.protocol.conversation import MAX_GREETING_BYTES, Conversation, State
from ..core.protocol.messages import PROTOCOL_VERSIONS, Closing, Message, Pair, Paired, Proof
from ..core.protocol.pairing import Exchange, new_code
from ..core.protocol.proofs import Role
from ..core.text import one_line
from .beacon import Beacon
from .sockets import addresses, listen, plain

log = logging.getLogger("pyraface.pairing")

MINUTES = 2

MOST_CODES = 3
"""Guesses in these two minutes, each at another code of eight digits: the probability of a right one is 1 in 33 million."""

EXCHANGE_TIME = 10.0
"""Seconds for one exchange: the code is typed before it begins."""

MOST_EXCHANGES = 8
"""Simultaneous exchanges; each costs 15 ms of one core."""


async def give(
    parameters: Parameters, *, hosts: Sequence[str], port: int | None, say: Callable[[str], None]
) -> None:
    """Returns when another machine has the key.

    Args:
        hosts, port: as for `listen`; no port: the port in parameters.xml.
        say: called with lines for a person: the code, and the outcome.

    Raises:
        PairingError: the time is over, or too many guesses were wrong.
        ServerError: the port is not available.
        KeyFileError: there is no key to give.
    """
    key = keyfile.load_or_make()[0]
    name = (parameters.beacon.name or machine_name())[:64]
    with contextlib.ExitStack() as stack:
        sockets = await listen(hosts, parameters.ports.pairing if port is None else port)
        for sock in sockets:
            stack.enter_context(sock)
        desk = _Desk(key, name, say, sockets[0].getsockname()[1])
        for sock in sockets:
            tcp = await asyncio.start_server(desk.serve, sock=sock, limit=MAX_GREETING_BYTES)
            stack.callback(tcp.close)
        beacon = Beacon(
            desk.announcement,
            None,
            port=parameters.ports.pairing,
            interfaces=parameters.beacon.interfaces,
            interval=parameters.beacon.interval,
            addresses=addresses(sockets),
        )
        try:
            beacon.start()
            desk.show()
            say(await asyncio.wait_for(asyncio.shield(desk.outcome), MINUTES * 60))
        except asyncio.TimeoutError:
            raise PairingError(
                f"no machine gave the code within {MINUTES} minutes; run the command again for a new code"
            ) from None
        except OSError as error:
            raise ServerError(f"{error.strerror}; is another pyraface-daemon pair running?") from error
        finally:
            await beacon.stop()
            stack.close()
            await desk.end()


class _Desk:
    """Serves the machines that ask for the key."""

    def __init__(self, key: bytes, name: str, say: Callable[[str], None], port: int) -> None:
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.announcement = Announcement(PROTOCOL_VERSIONS[-1], secrets.token_hex(8), name, port, "")
        self._key = key
        self._name = name
        self._say = say
        self._code = new_code()
        self._shown = 1
        self._exchanges: set[asyncio.Task[None]] = set()

    def show(self) -> None:
        """Shows the instructions and the code."""
        self._say(
            "on the other machine, run: pyraface pair, or pyraface pair HOST with the name or address of this machine\n"
            f"code: {self._code}, valid for {MINUTES} minutes and one attempt"
        )

    async def end(self) -> None:
        """Returns when the last messages have left."""
        if self._exchanges:
            await asyncio.wait(self._exchanges, timeout=1)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._exchanges) >= MOST_EXCHANGES:
            writer.close()
            return
        self._exchanges.add(task)
        # a client that left before it was served has no address
        peer = plain((writer.get_extra_info("peername") or ["a client"])[0])
        try:
            await asyncio.wait_for(self._exchange(reader, writer, peer), EXCHANGE_TIME)
        except RemoteProtocolError as error:
            log.info("%s: %s", peer, error)
            writer.write(wire.encode(Closing.because(error.code, str(error))))
        except (OSError, EOFError, asyncio.TimeoutError):
            log.debug("%s: gone", peer)
        finally:
            self._exchanges.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        conversation = Conversation(Role.SERVER, State.PAIRING)
        codec = wire.Codec(max_frame_bytes=MAX_GREETING_BYTES)
        code = self._code
        pair = await self._next(reader, codec, conversation)
        assert isinstance(pair, Pair)
        exchange = Exchange(code, asks=False)
        secret = exchange.finish(pair.share)
        answer = Pair(self._name, exchange.share)
        conversation.send(answer)
        writer.write(wire.encode(answer))
        guess = await self._next(reader, codec, conversation)
        assert isinstance(guess, Proof)
        if code != self._code or self.outcome.done():
            raise RemoteProtocolError("the code is used up", ErrorCode.WRONG_KEY)
        self._code = new_code()  # right or wrong: this was the guess
        if not secret.confirms(guess.proof):
            self._guessed_wrong(peer)
            raise RemoteProtocolError(
                "the code is wrong, and used up; a new one is shown", ErrorCode.WRONG_KEY
            )
        sealed = Paired(secret.seal(self._key))
        conversation.send(sealed)
        writer.write(wire.encode(sealed))
        await writer.drain()
        self.outcome.set_result(f"{one_line(pair.name)} ({peer}) has this machine's key now")

    async def _next(
        self, reader: asyncio.StreamReader, codec: wire.Codec, conversation: Conversation
    ) -> Message:
        message = await read_message(reader, codec)
        conversation.receive(message)
        if isinstance(message, Closing):
            raise EOFError
        return message

    def _guessed_wrong(self, peer: str) -> None:
        self._say(f"{peer} sent a wrong code: a typing error, or a guess")
        if self._shown < MOST_CODES:
            self._shown += 1
            self.show()
        else:
            self.outcome.set_exception(
                PairingError(f"{MOST_CODES} wrong codes: the key was given to no machine")
            )

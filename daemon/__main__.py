"""pyraface-daemon: the command line of the server."""

from __future__ import annotations

import argparse
import functools
import sys
from typing import TYPE_CHECKING

from .. import __version__
from ..core.errors import PyrafaceError, ReaderGoneError, ServerError
from ..core.host import completion
from ..core.text import plural

if TYPE_CHECKING:
    import socket


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="pyraface-daemon",
        description="Finds faces for every pyraface client that can reach this machine, and announces itself to them.",
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=["pair", "parameters"],
        help="pair: instead of serving, give this user's key to another machine (pyraface pair, there) by a code; "
        "a daemon may run at the same time. parameters: instead of serving, show the parameters that a daemon with the same "
        "options has, each with where it comes from",
    )
    parser.add_argument(
        "--json", action="store_true", help="with parameters: write one line of JSON, for programs"
    )
    parser.add_argument(
        "--parameters", metavar="FILE", help="parameters.xml to use instead of the usual places"
    )
    parser.add_argument(
        "--host",
        action="append",
        metavar="HOST",
        help="address to listen on, or a name of this machine; may be given several times. ::, the default: every address, "
        "IPv4 and IPv6; 0.0.0.0: every IPv4 address. The server is announced on the networks of its IPv4 addresses alone: "
        "a server with IPv6 addresses alone has to be named by clients",
    )
    parser.add_argument(
        "--port", type=_port, help="TCP port; 0 takes a free one (default: from parameters.xml)"
    )
    parser.add_argument(
        "--engine",
        choices=["auto", "onnx", "dlib"],
        default="auto",
        help="auto: dlib where it was built with CUDA and a GPU is there, otherwise onnx",
    )
    parser.add_argument(
        "--search",
        choices=["everywhere", "guided", "most"],
        help="the search of images whose client asks for none (default: from parameters.xml)",
    )
    parser.add_argument("--no-beacon", action="store_true", help="do not announce this server on the network")
    parser.add_argument(
        "--fd", type=_descriptor, metavar="N", help="serve on the inherited, bound TCP socket number N"
    )
    parser.add_argument(
        "--key-fd",
        type=_descriptor,
        metavar="N",
        help="read the key, 32 bytes, from the inherited descriptor N, and leave this user's key file alone",
    )
    parser.add_argument(
        "--stop-at-eof",
        action="store_true",
        help="stop when standard input or the parent process ends: for a program that starts a daemon for itself",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="log more: the end of every connection, for example"
    )
    parser.add_argument("--version", action="version", version=f"pyraface {__version__}")
    completion.add_option(parser)
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Runs the daemon until SIGTERM or SIGINT. Exit status: 0 after a clean stop, 1 after an error, 2 for bad usage."""
    if completion.wanted():
        completion.answer(parser(), {"parameters": completion.files(".xml")})
    options = parser().parse_args(arguments)
    # not at the top: --help does not wait for numpy and the rest
    import uvloop

    from ..core.host import standard_streams, threads
    from . import logs, process

    process.disable_core_dumps()
    standard_streams.prepare()
    logs.configure(verbose=options.verbose)
    if options.command == "parameters":
        _show_parameters(options)
        return
    process.return_freed_memory()
    try:
        uvloop.run(_run(options))
    except PyrafaceError as error:
        sys.exit(f"pyraface-daemon: {error}")
    except RuntimeError as error:
        if not threads.refused(error):
            raise
        sys.exit(f"pyraface-daemon: {threads.REMEDY}")
    except KeyboardInterrupt:  # before it served, or while it showed a code
        sys.exit(130)


def _show_parameters(options: argparse.Namespace) -> None:
    from .parameters import show

    try:
        show(options, parser().get_default)
    except ReaderGoneError:
        sys.exit(ReaderGoneError.EXIT_STATUS)
    except PyrafaceError as error:
        sys.exit(f"pyraface-daemon: {error}")


async def _run(options: argparse.Namespace) -> None:
    import dataclasses

    from ..core import parameters as parameters_file
    from .server import Server
    from .sockets import EVERY, listen

    parameters = parameters_file.load(options.parameters)
    hosts = options.host or [EVERY]
    if options.command == "pair":
        from ..core.host.standard_streams import notices
        from .pair import give

        say = functools.partial(print, file=notices(sys.stdout), flush=True)
        await give(parameters, hosts=hosts, port=options.port, say=say)
        return
    if options.search:
        detection = dataclasses.replace(parameters.detection, search=options.search)
        parameters = dataclasses.replace(parameters, detection=detection)
    port = parameters.ports.images if options.port is None else options.port
    await Server(
        parameters,
        engine=options.engine,
        sockets=await listen(hosts, port) if options.fd is None else [_inherited(options.fd)],
        key=_key(options.key_fd) if parameters.security.keyed else None,
        beacon=not options.no_beacon,
        stop_at_eof=options.stop_at_eof,
    ).run()


def _key(number: int | None) -> bytes:
    import os

    from ..core.host import keyfile
    from ..core.protocol.proofs import KEY_BYTES

    if number is None:
        return keyfile.load_or_make()[0]
    try:
        with os.fdopen(number, "rb") as file:
            key = file.read(KEY_BYTES + 1)
    except OSError as error:
        raise ServerError(f"--key-fd {number} cannot be read: {error.strerror}") from error
    if len(key) != KEY_BYTES:
        raise ServerError(f"--key-fd {number} gave {plural(len(key), 'byte')}; a key is {KEY_BYTES}")
    return key


def _inherited(number: int) -> socket.socket:
    import socket

    try:
        listener = socket.socket(fileno=number)
    except OSError as error:
        raise ServerError(f"--fd {number} is no socket: {error.strerror}") from error
    if listener.family not in (socket.AF_INET, socket.AF_INET6) or listener.type != socket.SOCK_STREAM:
        raise ServerError(f"--fd {number} is no TCP socket")
    if not listener.getsockname()[1]:
        raise ServerError(f"--fd {number} is not bound to a port")
    return listener


def _descriptor(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is no descriptor: a whole number from 0 on")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a whole number from 0 to 65535")
    return int(text)


if __name__ == "__main__":
    main()

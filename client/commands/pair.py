"""pyraface pair: gets the key of another machine, where `pyraface-daemon pair` shows a code for it."""

from __future__ import annotations

import argparse

from . import add_parameters_option, run_in_loop


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of pair."""
    parser = argparse.ArgumentParser(
        prog="pyraface pair",
        description="Gets the key of another machine, once: from then on its server can be used by this user. Run "
        "pyraface-daemon pair on that machine first; it shows the code that is asked for here.",
        epilog="Exit status: 0 paired; 2 not paired.",
    )
    parser.add_argument(
        "host",
        nargs="?",
        type=_host,
        metavar="HOST[:PORT]",
        help="the other machine (default: the one on the network that shows a code; a machine with IPv6 "
        "addresses alone has to be named)",
    )
    add_parameters_option(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Pairs; returns the exit status."""
    return run_in_loop(_pair(options))


async def _pair(options: argparse.Namespace) -> bool:
    """Asks for the code, gets the key and adds it to this user's key file. Returns True.

    Raises:
        PairingError: no machine answers (known before the code is asked for), or the code is incorrect.
        KeyFileError: the key file is invalid, or cannot be written.
        ParametersError: parameters.xml is invalid.
    """
    from ...core import parameters as parameters_file
    from ...core.errors import PairingError
    from ...core.host import keyfile
    from ...core.protocol.pairing import normal_code
    from ..console.prompt import typed_line
    from ..console.terminal import say
    from ..pool import pairing

    parameters = parameters_file.load(options.parameters)
    keyfile.load()  # an error in the key file is shown before a code is used up
    places = await pairing.find(options.host, parameters)
    place = await pairing.check(places, parameters.timeouts.connect)
    say(f"code shown at {place}: ", end="")
    typed = ""
    try:
        typed = await typed_line()
    finally:
        if not typed.endswith("\n"):  # Ctrl-C or Ctrl-D: the cursor still stands behind the question
            say("")
    code = normal_code(typed)
    if code is None:
        raise PairingError("a code is eight digits, as pyraface-daemon pair shows them; nothing was sent")
    key, name = await pairing.take_key(place, code, parameters.timeouts.connect)
    known = "; this user had its key already" if not keyfile.add(key) else ""
    say(f"paired with {name} ({place}){known}")
    return True


def _host(text: str) -> str:
    if "/" in text:
        raise argparse.ArgumentTypeError(
            f"{text!r} is a path; a HOST is the name or the address of a machine"
        )
    return text

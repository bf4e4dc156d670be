"""pyraface encode: the encodings of faces in boxes that come from elsewhere."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from . import add_parameters_option, run_in_loop

if TYPE_CHECKING:
    from ...core.given_boxes import GivenBoxes
    from ...core.results import Result
    from ..api import Client


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of encode."""
    parser = argparse.ArgumentParser(
        prog="pyraface encode",
        allow_abbrev=False,
        description="Encodes the faces in given boxes of a photograph, such as boxes that another program found or a person "
        "drew, as if they had been found there. Writes the JSON line of the photograph, with a face for each box in "
        "their order.",
        epilog='Exit status: 0 every box was encoded; 1 the photograph or a box has an error, which the "error" of the line '
        "names; 2 nothing could be done (wrong usage, no server); 130 interrupted.",
    )
    parser.add_argument("photo", metavar="PHOTO", help="the image; -: an image on standard input")
    parser.add_argument(
        "--box",
        dest="boxes",
        action="append",
        required=True,
        type=_box,
        metavar="LEFT,TOP,RIGHT,BOTTOM[,TURNED]",
        help="a box, in pixels of the photograph as it stands upright, from its upper left corner; with the degrees "
        "clockwise, 0, 90, 180 or 270, that bring the face upright (default: the server finds them out). May be repeated, "
        "for up to 1000 boxes",
    )
    parser._negative_number_matcher = re.compile(r"-[\d.]")  # --box -5,10,60,80 is a value, not an option
    parser.add_argument(
        "--page",
        type=_page,
        default=0,
        metavar="N",
        help="the number of the picture in the file that the boxes are in, from 0, as in the output (default: the first)",
    )
    parser.add_argument(
        "--servers",
        default="auto",
        metavar="auto,local,HOST[:PORT],...",
        help="as of pyraface: auto (the default): a server on the network, or one that is started on this machine; "
        "local: the latter; HOST[:PORT]: the server named; or several of these",
    )
    parser.add_argument(
        "--search",
        choices=["everywhere", "guided", "most"],
        default="",
        help="the search for which the faces are turned upright: everywhere turns none, the others do (default: the setting "
        "in each server's parameters.xml)",
    )
    add_parameters_option(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Encodes the faces; returns the exit status."""
    from ...core.errors import BadBoxError
    from ...core.given_boxes import UNKNOWN_TURN, GivenBoxes
    from .path_checks import check_paths

    check_paths([options.photo], options.words)
    try:
        given = GivenBoxes.of(
            [box[:4] for box in options.boxes],
            [int(box[4]) if len(box) > 4 else UNKNOWN_TURN for box in options.boxes],
            options.page,
        )
    except ValueError as error:
        raise BadBoxError(str(error)) from None
    return run_in_loop(_encode(options, given))


async def _encode(options: argparse.Namespace, given: GivenBoxes) -> bool:
    """Writes the line to standard output; returns whether nothing failed.

    Raises:
        PyrafaceError: no server can be reached, or standard output cannot be written.
    """
    import json

    from ...core import parameters as parameters_file
    from ...core.host.standard_streams import print_lines
    from ..api import Client
    from ..console.terminal import say

    parameters = parameters_file.load(options.parameters)
    client = Client(options.servers, parameters=parameters, search=options.search, on_event=say)
    async with client:
        result = await _result(client, options.photo, given, parameters.daemon.max_frame_bytes)
    print_lines([json.dumps(result.as_json(), separators=(",", ":"))])
    if result.error is not None:
        say(f"pyraface: {result.path}: {result.error[1]}")
    return result.error is None


async def _result(client: Client, photo: str, given: GivenBoxes, max_bytes: int) -> Result:
    import asyncio
    import dataclasses

    from ...core.results import Result
    from ..inputs.standard_input import NAME, StandardInput

    if photo != NAME:
        return await client.encode(photo, given.boxes, turned=given.turned, page=given.page)
    sent = StandardInput(max_bytes)
    images = await asyncio.to_thread(list, sent.images())
    if sent.problem is not None:
        return Result(NAME, error=sent.problem)
    result = await client.encode(images[0], given.boxes, turned=given.turned, page=given.page)
    return dataclasses.replace(result, path=NAME)


def _box(text: str) -> list[float]:
    """Returns the four or five numbers that --box names."""
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (4, 5) or (len(numbers) == 5 and numbers[4] not in (0, 90, 180, 270)):
        raise argparse.ArgumentTypeError(
            f"takes LEFT,TOP,RIGHT,BOTTOM in pixels, and then 0, 90, 180 or 270 or nothing, not {text[:60]!r}"
        )
    return numbers


def _page(text: str) -> int:
    """Returns the number that --page names."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise argparse.ArgumentTypeError(f"takes the number of a picture, from 0, not {text[:60]!r}")
    return int(text)

"""Parameters of a daemon, shown: each with its value, and the file, the default or the option that it comes from."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ..core import parameters as parameters_file
from ..core.host import automatic_values
from ..core.host.standard_streams import print_lines
from .sockets import EVERY

_ELEMENTS = {"port": "ports/server_port_image_handle", "search": "tiled_detect_params/search"}
"""Options in the place of elements of the file."""


def show(options: argparse.Namespace, default: Callable[[str], object]) -> None:
    """Prints the parameters with which a daemon with the same options would serve.

    Args:
        default: returns the default of an option.

    Raises:
        ParametersError: parameters.xml is invalid.
        OutputError: standard output cannot be written.
    """
    parameters = parameters_file.load(options.parameters)
    given = {
        _ELEMENTS[name]: (f"--{name}", value)
        for name in _ELEMENTS
        if (value := getattr(options, name)) is not None
    }
    chosen = {path: text for path, text in automatic_values.chosen(parameters).items() if path not in given}
    if options.port == 0:
        chosen[_ELEMENTS["port"]] = "a free port"
    if options.engine == "auto":
        chosen["options/engine"] = "onnx, or dlib with CUDA"
    if options.host is None:
        chosen["options/host"] = "every address"
    further = [
        ("host", ", ".join(options.host or [EVERY]), _origin("--host", options.host is not None)),
        ("engine", options.engine, _origin("--engine", options.engine != default("engine"))),
        ("beacon", "no" if options.no_beacon else "yes", _origin("--no-beacon", options.no_beacon)),
    ]
    listing = parameters_file.Listing(
        parameters=parameters,
        named=options.parameters is not None,
        options=given,
        further=further,
        chosen=chosen,
    )
    print_lines([listing.json_line()] if options.json else listing.lines())


def _origin(option: str, given: bool) -> str:
    return option if given else parameters_file.DEFAULT

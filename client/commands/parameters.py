"""pyraface parameters: the effective parameters, each with its value and where that comes from."""

from __future__ import annotations

import argparse

from . import EXIT_OK, add_parameters_option


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of parameters."""
    parser = argparse.ArgumentParser(
        prog="pyraface parameters",
        description="Shows the file that the parameters come from, and each parameter with its value: from the file, or the "
        "default. A server finds faces by its own parameters, which pyraface-daemon parameters shows there; those shown "
        "here are for the rest of the work, and for a server that is started on this machine.",
        epilog="Exit status: 0 the parameters are shown; 2 there is an error in the file.",
    )
    parser.add_argument("--json", action="store_true", help="write one line of JSON, for programs")
    add_parameters_option(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Shows the parameters; returns the exit status.

    Raises:
        ParametersError: parameters.xml is invalid.
        OutputError: standard output cannot be written.
    """
    from ...core import parameters as parameters_file
    from ...core.host import automatic_values
    from ...core.host.standard_streams import print_lines

    parameters = parameters_file.load(options.parameters)
    listing = parameters_file.Listing(
        parameters=parameters,
        named=options.parameters is not None,
        chosen=automatic_values.chosen(parameters),
    )
    print_lines([listing.json_line()] if options.json else listing.lines())
    return EXIT_OK

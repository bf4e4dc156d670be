"""Manual pages: pyraface.1 and pyraface-daemon.1, from the parsers of the programs' words. The build backend writes them.

    python boot/man_pages.py FOLDER

argparse-manpage, which does the same for any program, leaves out the exit status and the line that apropos searches, and
breaks the lines of a usage.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

MISTAKEN = str.maketrans({"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"})
"""Characters that roff would replace, in text that a reader may copy."""


def write(folder: Path) -> None:
    """Writes the pages into a folder, which is made."""
    sys.path.insert(0, str(ROOT))
    try:
        from pyraface import __version__
        from pyraface.client import client, commands
        from pyraface.daemon.__main__ import parser as daemon_parser
    finally:
        sys.path.remove(str(ROOT))
    detect = commands.load(commands.DEFAULT).parser()
    detect.prog = "pyraface"
    program = client.program_parser()
    others = [
        (name, commands.load(name).parser()) for name in commands.SUBCOMMANDS if name != commands.DEFAULT
    ]
    pages = {
        "pyraface": [
            *_head("pyraface", "find and encode the faces in photographs", __version__),
            *_synopsis([detect, *(parser for _, parser in others)]),
            ".SH DESCRIPTION",
            _text(detect.description),
            ".PP",
            _text(
                "A first word that is the name of a subcommand runs it. Without one, the subcommand is detect."
            ),
            ".SH OPTIONS",
            *_arguments(program),
            ".SH SUBCOMMANDS",
            *(line for name, parser in others for line in _subcommand(name, parser)),
            ".SH EXIT STATUS",
            _text((detect.epilog or "").removeprefix("Exit status: ")),
            *_see_also("pyraface-daemon"),
        ],
        "pyraface-daemon": [
            *_head("pyraface-daemon", "server that finds faces for pyraface clients", __version__),
            *_synopsis([daemon_parser()]),
            ".SH DESCRIPTION",
            _text(daemon_parser().description),
            ".SH OPTIONS",
            *_arguments(daemon_parser()),
            ".SH EXIT STATUS",
            "0 after a clean stop; 1 after an error; 2 wrong usage; 130 interrupted.",
            *_see_also("pyraface"),
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in pages.items():
        (folder / f"{name}.1").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _head(name: str, summary: str, version: str) -> list[str]:
    return [
        f'.TH {name.upper()} 1 "" "pyraface {version}" "User Commands"',
        ".SH NAME",
        rf"{_text(name)} \- {_text(summary)}",
    ]


def _see_also(name: str) -> list[str]:
    return [".SH SEE ALSO", f".BR {_text(name)} (1)"]


def _synopsis(parsers: list[argparse.ArgumentParser]) -> list[str]:
    lines = [".SH SYNOPSIS"]
    for parser in parsers:
        lines += [f".SY {_text(parser.prog).replace(' ', chr(92) + ' ')}"]
        for action in parser._get_optional_actions():
            if not isinstance(action, argparse._HelpAction):
                lines.append(f".RB [ {_quoted(_option(action, action.option_strings[-1:]))} ]")
        lines += [f".I {_quoted(_text(_value(action)))}" for action in parser._get_positional_actions()]
        lines.append(".YS")
    return lines


def _subcommand(name: str, parser: argparse.ArgumentParser) -> list[str]:
    return [
        f".SS pyraface {_text(name)}",
        _text(parser.description),
        *_arguments(parser),
        ".PP",
        _text(parser.epilog),
    ]


def _arguments(parser: argparse.ArgumentParser) -> list[str]:
    formatter = parser._get_formatter()
    lines = []
    for action in [*parser._get_positional_actions(), *parser._get_optional_actions()]:
        lines += [
            ".TP",
            f".B {_quoted(_option(action, action.option_strings))}"
            if action.option_strings
            else f".I {_quoted(_text(_value(action)))}",
            _text(formatter._expand_help(action) if action.help else ""),
        ]
    return lines


def _option(action: argparse.Action, strings: list[str] | tuple[str, ...]) -> str:
    value = "" if action.nargs == 0 else f" \\fI{_text(_value(action))}\\fP"
    return ", ".join(f"{_text(string)}{value}" for string in strings)


def _value(action: argparse.Action) -> str:
    """Returns the placeholder of an argument's value: its metavar, its choices, or its name."""
    if isinstance(action.metavar, str):
        value = action.metavar
    elif action.choices is not None:
        value = "|".join(map(str, action.choices))
    else:
        value = action.dest.upper()
    return f"{value} ..." if action.nargs == "+" else f"[{value}]" if action.nargs == "?" else value


def _text(text: str | None) -> str:
    """Returns text on one line, as roff reads it."""
    line = " ".join((text or "").split()).translate(MISTAKEN)
    return rf"\&{line}" if line.startswith(".") else line


def _quoted(text: str) -> str:
    """Returns text as one argument of a macro."""
    return '"' + text.replace('"', r"\(dq") + '"'


if __name__ == "__main__":
    write(Path(sys.argv[1]))

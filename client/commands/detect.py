"""pyraface detect: finds and encodes the faces in photographs. The name may be left out: pyraface PATH..."""

from __future__ import annotations

import argparse

from . import add_parameters_option, run_in_loop


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of detect."""
    parser = argparse.ArgumentParser(
        prog="pyraface detect",
        allow_abbrev=False,  # an interrupted run prints these words again, in the command that resumes it
        description="Finds and encodes every face in photographs; writes one JSON line per image.",
        epilog="Exit status: 0 every image was processed; 1 some images failed, and the line of each says why; 2 nothing "
        "could be done (wrong usage, no server, no output); 130 interrupted; "
        "141 the program that reads the results ended. With --dry-run: 0 no photograph is known to have an error; 1 some "
        "would have one, or a server named does not answer; 2 as without it, but a server is not needed.",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="an image, or a directory that is searched for images; -: an image on standard input",
    )
    parser.add_argument(
        "--servers",
        default="auto",
        metavar="auto,local,HOST[:PORT],...",
        help="auto (the default): every server that answers on the network, or, if none does, one that is started on "
        "this machine for this run; local: one that is started on this machine; HOST[:PORT]: the server named, as one with "
        "an IPv6 address alone has to be. Several of these with commas between them: with auto,local, this machine works "
        "beside the servers on the network",
    )
    parser.add_argument(
        "--search",
        choices=["everywhere", "guided", "most"],
        default="",
        help="everywhere: in every part of the photograph, as face_recognition does; guided: where a small network proposes "
        "faces: more of them, in a fraction of the time; most: also the faces of which that network alone is sure. A "
        "server that cannot do it is not used (default: the setting in each server's parameters.xml)",
    )
    parser.add_argument(
        "--faces-from",
        type=_pixels,
        default=0,
        metavar="PX",
        help="the size of the smallest face to find, in pixels of the photograph, 5 to 1000. The smaller, the longer it "
        "takes; the cost is shown (default: the setting in each server's parameters.xml)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE.jsonl",
        help="the file to write to (default: standard output); FILE.jsonl.gz and FILE.jsonl.zst are compressed. Resumes "
        "an existing output: images already recorded and unchanged are skipped",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the output file instead of resuming it"
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="move broken lines of the output to FILE.broken, then resume it; without this option, a broken line ends the "
        "run before it starts",
    )
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="process again the images in which an earlier run found an error, such as a file that is cut off; images at "
        "which a server failed are processed again anyway",
    )
    parser.add_argument(
        "--redo-from",
        action="append",
        default=[],
        metavar="ENGINE|DEVICE|VERSION",
        help="process again the images that an engine (dlib), a device (cuda) or a version (0.1.0, onnxruntime 1.32.0) "
        "has processed: a value of computed_by in the output, or a part of one between commas. May be repeated",
    )
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out files and folders that match: a pattern as in a .gitignore, relative to PATH, such as '*.png', "
        "'/raw/' or '2019/**/small'; may be given several times",
    )
    parser.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="PATTERN",
        help="take only files that match such a pattern; may be given several times",
    )
    parser.add_argument(
        "--follow-links",
        action="store_true",
        help="search the folders that links lead to, each once; links to files are always followed",
    )
    parser.add_argument(
        "--list-skipped",
        action="store_true",
        help="name each file and folder that is left out, and why; the summary counts them",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="send and write nothing, and start no server; say how many photographs there are, how large, which are "
        "recorded already, left out or would have an error, and about how long the rest takes",
    )
    add_parameters_option(parser)
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="show no progress and no summary, only the error that ends the run",
    )
    return parser


def run(options: argparse.Namespace) -> int:
    """Processes the images; returns the exit status."""
    from .path_checks import check_output, check_paths, leave_a_directory_that_is_gone

    check_output(options)
    leave_a_directory_that_is_gone(options)
    check_paths(options.paths, options.words)
    if options.dry_run:
        from .. import dry_run

        return run_in_loop(dry_run.run(options))
    from .. import archive_run

    return run_in_loop(archive_run.run(options))


def _pixels(text: str) -> int:
    """Returns the pixels that --faces-from names."""
    # 5 is the detector's window after the largest zoom, 16 times; 1000 is the largest value in the protocol
    if not (text.isascii() and text.isdigit()) or len(text) > 4 or not 5 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"takes 5 to 1000 pixels, not {text!r}")
    return int(text)

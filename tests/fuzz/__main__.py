"""Fuzzes one target with atheris until it finds something, or as long as it is told.

    python -m tests.fuzz TARGET [options and folders of libFuzzer]

    python -m tests.fuzz image -max_total_time=600 /tmp/found tests/fuzz/corpus/image

New inputs go to the first folder, others are only read; an input that breaks something is written to crash-... in the
working directory.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["pyraface", "PIL", "pillow_heif", "msgpack", "defusedxml"]):
    from pyraface.core.images.decode import claim_pillow
    from pyraface.core.images.formats import load_decoders
    from tests.fuzz.targets import IMAGE_LIMITS, TARGETS

    load_decoders()


def main() -> None:
    """Runs the target that the first argument names."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz {'|'.join(TARGETS)} [options and folders of libFuzzer]")
    claim_pillow(IMAGE_LIMITS)
    target = TARGETS[sys.argv[1]]
    # an image may take a while and memory; more than this is a bug too
    atheris.Setup([sys.argv[0], "-timeout=20", "-rss_limit_mb=2048", *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

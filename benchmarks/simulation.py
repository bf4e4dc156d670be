"""Simulation: the scheduler's figures over simulated servers, in virtual time (`tests/simulation/world.py`).

python -m benchmarks.simulation               # all scenarios, with the efficiency of each
python -m benchmarks.simulation million       # one of them
python -m benchmarks.simulation --images 100  # all of them, with this many images each
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import replace

from tests.simulation import world

from .common import machine, today


def main(arguments: Iterable[str] | None = None) -> None:
    """Runs scenarios and prints a line for each."""
    known = world.scenarios()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulation", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help=f"of {', '.join(known)} (default: all)")
    parser.add_argument("--images", type=int, metavar="N", help="in each (default: as many as it has)")
    options = parser.parse_args(list(arguments) if arguments is not None else None)
    if unknown := set(options.names) - set(known):
        parser.error(f"no such scenarios: {', '.join(sorted(unknown))}")
    print(f"{today()}; {machine()}; Python {sys.version.split()[0]}\n")
    for name in options.names or known:
        scenario = known[name]
        if options.images is not None:
            scenario = replace(scenario, images=options.images)
        print(f"{name}: {world.run(scenario)}", flush=True)


if __name__ == "__main__":
    main()

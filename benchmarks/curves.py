"""Curves: a drawing of precision over recall, a dot where each detector's own threshold lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .metrics import Curve

LEAST_PRECISION = 0.8
"""The lower edge of the drawing, unless a detector's own threshold lies below: there one box in five is no face."""


@dataclass(frozen=True, eq=False)
class Series:
    """A detector's name, its curve, and recall and precision at its default."""

    name: str
    curve: Curve
    default: tuple[float, float]


def draw(series: list[Series], file: Path, title: str) -> None:
    """Draws all curves into one plot."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for index, one in enumerate(series):
        style = {"color": f"C{index % 10}", "linestyle": "-" if index < 10 else "--"}
        axes.plot(one.curve.recall, one.curve.precision, label=one.name, linewidth=1.2, **style)
        axes.plot(*one.default, "o", color=style["color"], clip_on=False)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.set_xlim(0, 1)
    axes.set_ylim(min(LEAST_PRECISION, *(one.default[1] - 0.05 for one in series)), 1.005)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower left")
    figure.tight_layout()
    figure.savefig(file, dpi=90)
    pyplot.close(figure)

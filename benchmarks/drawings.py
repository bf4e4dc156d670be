"""Drawings: precision over recall, and ratios as bars; both need matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .metrics import Curve

LEAST_PRECISION = 0.8
"""The lower edge of the curves, unless a detector's own threshold lies below: there one box in five is no face."""

COLOURS = ("#4477aa", "#66ccee")
"""Of the bars of the first reference, and of the others."""


@dataclass(frozen=True, eq=False)
class Series:
    """A detector's name, its curve, and recall and precision at its own threshold."""

    name: str
    curve: Curve
    default: tuple[float, float]


def curves(series: list[Series], file: Path, title: str) -> None:
    """Draws precision over recall of each detector, a dot where its own threshold lies."""
    figure, axes = _plot(7, 4.5)
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
    _save(figure, file)


def bars(ratios: dict[tuple[str, str], float], file: Path, title: str) -> None:
    """Draws a bar for each work, and the reference that it is compared with."""
    figure, axes = _plot(9, 0.45 * len(ratios) + 1.2)
    [first, *_] = dict.fromkeys(reference for _, reference in ratios)
    axes.barh(
        [f"{what}\nvs {reference}" for what, reference in ratios],
        list(ratios.values()),
        color=[COLOURS[reference != first] for _, reference in ratios],
    )
    for index, ratio in enumerate(ratios.values()):
        axes.text(ratio, index, f" {ratio:.1f}x", va="center")
    axes.invert_yaxis()
    axes.set_xlabel("times as fast")
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7)
    _save(figure, file)


def _plot(width: float, height: float) -> tuple[Any, Any]:
    """A figure of so many inches, and its axes."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(width, height))
    return figure, axes


def _save(figure: Any, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, dpi=90)

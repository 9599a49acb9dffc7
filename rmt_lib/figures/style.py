"""The look of every figure in the book: one style, and one colour, dash and marker for each meaning.

Theory is drawn as lines, simulation as points with error bars of two standard errors. A meaning is told apart
by dash and marker as well as by colour, so that no figure depends on colour alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.lines import Line2D
from matplotlib.rcsetup import cycler
from numpy.typing import ArrayLike

__all__ = [
    "COLORS",
    "MARKS",
    "STYLE",
    "TEXT_COLOR",
    "Mark",
    "chance_line",
    "histogram_with_density",
    "best_line",
    "simulation_points",
    "theory_line",
    "use_style",
]


@dataclass(frozen=True)
class Mark:
    """How one meaning is drawn, in every chapter.

    Attributes
    ----------
    color : str
        As "#1F81FB".
    dash : str or tuple
        A line style of matplotlib.
    marker : str
        A marker of matplotlib.
    """

    color: str
    dash: str | tuple[int, tuple[float, ...]]
    marker: str


# Every colour has a contrast of at least 3:1 on the white panel that figures have in both themes, and every two stay
# apart for readers with protanopia, deuteranopia or tritanopia: tests/test_figures.py computes both.
MARKS: Mapping[str, Mark] = MappingProxyType(
    {
        "real": Mark("#1F81FB", "-", "o"),
        "synthetic": Mark("#E76D0F", (0, (5, 1.5)), "s"),
        "mixed": Mark("#700AA7", (0, (6, 1.5, 1.5, 1.5)), "D"),
        "oracle": Mark("#04A166", "-", "^"),
        "weak": Mark("#8D6829", (0, (5, 1.5)), "v"),
        "none": Mark("#611645", (0, (2, 1)), "X"),
        "theory": Mark("#111111", "-", "o"),
        "simulation": Mark("#075B83", "-", "o"),
        "released": Mark("#700707", (0, (3, 2)), "P"),
        "chance": Mark("#767676", (0, (1, 2)), "."),
    }
)
COLORS: Mapping[str, str] = MappingProxyType({meaning: mark.color for meaning, mark in MARKS.items()})
TEXT_COLOR = "#1A1A1A"

_CYCLE = ("real", "synthetic", "oracle", "mixed", "weak", "none", "released", "simulation")

# Keys are texts; matplotlib's own type for them changes from release to release.
STYLE: Mapping[Any, Any] = MappingProxyType(
    {
        "figure.figsize": (6.4, 4.2),
        "figure.dpi": 96,
        "figure.facecolor": "white",
        "figure.constrained_layout.use": True,
        "savefig.facecolor": "white",
        # Verdana is as wide as DejaVu Sans, where a browser has to draw the text itself.
        "font.family": ["sans-serif"],
        "font.sans-serif": ["DejaVu Sans", "Verdana"],
        "font.size": 13,
        "axes.titlesize": 14,
        "axes.labelsize": 13,
        "xtick.labelsize": 12,
        "ytick.labelsize": 12,
        "legend.fontsize": 12,
        "text.usetex": False,
        "text.color": TEXT_COLOR,
        "axes.labelcolor": TEXT_COLOR,
        "axes.edgecolor": "#5A5A5A",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.prop_cycle": cycler(color=[COLORS[meaning] for meaning in _CYCLE]),
        "grid.color": "#E3E3E3",
        "grid.linewidth": 0.8,
        "xtick.color": "#5A5A5A",
        "ytick.color": "#5A5A5A",
        "xtick.labelcolor": TEXT_COLOR,
        "ytick.labelcolor": TEXT_COLOR,
        "lines.linewidth": 2.0,
        "lines.markersize": 6,
        "errorbar.capsize": 3,
        "legend.framealpha": 0.85,
        "legend.edgecolor": "white",
        "legend.borderaxespad": 0.3,
        # Colour maps that keep their order in grey and for every kind of colour vision.
        "image.cmap": "cividis",
        # The same figure gives the same bytes in every build.
        "svg.hashsalt": "rmt_lib",
        "svg.fonttype": "path",
    }
)


def use_style() -> None:
    """Use the book's style from here on; in a notebook, also show figures as SVG, sharp at any zoom.

    Call it once, in the first cell of a notebook. With the environment variable RMT_LIB_PRINT=1 figures are PDF,
    for LaTeX.
    """
    mpl.rcParams.update(STYLE)
    # IPython is looked up, not imported: the figures do not need it.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None and hasattr(shell, "kernel"):
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        # The build of a printed book asks for PDF. The date would differ in every build.
        kind, date = ("pdf", "CreationDate") if os.environ.get("RMT_LIB_PRINT") == "1" else ("svg", "Date")
        # Without bbox_inches="tight", the inline backend's default, all figures keep one width.
        set_matplotlib_formats(kind, bbox_inches=None, metadata={date: None})


def theory_line(ax: Axes, x: ArrayLike, y: ArrayLike, *, meaning: str = "theory", label: str | None = None) -> Line2D:
    """Draw a prediction as a line in the colour and dash of its meaning.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    x, y : array_like
        Points of the line.
    meaning : str
        A key of `MARKS`.
    label : str, optional
        Its text in the legend.

    Returns
    -------
    Line2D
        The line.

    Raises
    ------
    ValueError
        Unknown meaning.
    """
    mark = _mark(meaning)
    (line,) = ax.plot(x, y, color=mark.color, linestyle=mark.dash, label=label, zorder=2)
    return line


def simulation_points(
    ax: Axes,
    x: ArrayLike,
    value: ArrayLike,
    standard_error: ArrayLike,
    *,
    meaning: str = "simulation",
    label: str | None = None,
) -> ErrorbarContainer:
    """Draw measured values as points with error bars of two standard errors to each side.

    Markers are white inside and the bar is drawn over them, so that a bar shorter than its marker is still seen.

    Parameters
    ----------
    ax, x, meaning, label
        As in `theory_line`.
    value, standard_error : array_like
        What was measured, with its standard error.

    Returns
    -------
    ErrorbarContainer
        Points and bars.

    Raises
    ------
    ValueError
        Unknown meaning.
    """
    mark = _mark(meaning)
    return ax.errorbar(
        x,
        value,
        yerr=2 * np.asarray(standard_error, dtype=float),
        linestyle="none",
        marker=mark.marker,
        color=mark.color,
        markerfacecolor="white",
        markeredgewidth=1.3,
        elinewidth=1.3,
        barsabove=True,
        label=label,
        zorder=3,
    )


def chance_line(ax: Axes, value: float = 0.5, *, label: str | None = "chance") -> Line2D:
    """Draw a dotted horizontal line at the accuracy of a guess.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    value : float
        The accuracy.
    label : str, optional
        Its text in the legend.

    Returns
    -------
    Line2D
        The line.
    """
    mark = MARKS["chance"]
    return ax.axhline(value, color=mark.color, linestyle=mark.dash, linewidth=1.5, label=label, zorder=1)


def best_line(ax: Axes, x: float, *, meaning: str = "theory", label: str | None = None) -> Line2D:
    """Draw a thin vertical line where something is best.

    Parameters
    ----------
    x : float
        Where that is.
    ax, meaning, label
        As in `theory_line`.

    Returns
    -------
    Line2D
        The line.

    Raises
    ------
    ValueError
        Unknown meaning.
    """
    return ax.axvline(x, color=_mark(meaning).color, linewidth=1.0, linestyle="--", label=label, zorder=1)


def histogram_with_density(
    ax: Axes,
    samples: ArrayLike,
    x: ArrayLike,
    density: ArrayLike,
    *,
    bins: int = 50,
    meaning: str = "simulation",
    sample_label: str | None = None,
    density_label: str | None = None,
) -> tuple[BarContainer, Line2D]:
    """Draw a normalised histogram of `samples` and the density that theory gives at the points `x`.

    The bins cover `x`, so that the same `x` gives comparable figures; samples beyond it are not drawn but do count, so
    that the bars still compare with the density.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    samples : array_like
        What was drawn or measured, of any shape.
    x, density : array_like
        Points, and the density there.
    bins : int
        Number of bars.
    meaning : str
        A key of `MARKS`, for the bars.
    sample_label, density_label : str, optional
        Texts in the legend.

    Returns
    -------
    BarContainer, Line2D
        The bars and the line.

    Raises
    ------
    ValueError
        Unknown meaning.
    """
    points, values = np.asarray(x, dtype=float), np.ravel(samples)
    low, high = float(points.min()), float(points.max())
    _, _, bars = ax.hist(
        values,
        bins=bins,
        range=(low, high),
        weights=np.full(values.size, bins / (values.size * (high - low))),
        color=_mark(meaning).color,
        alpha=0.35,
        label=sample_label,
    )
    # Of one sample the bars are one container.
    return cast(BarContainer, bars), theory_line(ax, points, density, label=density_label)


def _mark(meaning: str) -> Mark:
    try:
        return MARKS[meaning]
    except KeyError:
        raise ValueError(f"meaning must be one of {', '.join(MARKS)}, got {meaning!r}") from None

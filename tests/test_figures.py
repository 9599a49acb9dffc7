"""The style of the figures: legible, told apart by every reader, and the same bytes in every build."""

from __future__ import annotations

import io
import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from rmt_lib import figures

# Machado, Oliveira and Fernandes (2009), severity 1, in linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(color: np.ndarray) -> np.ndarray:
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def contrast_on_white(color: str) -> float:
    """The contrast ratio of WCAG 2, on the panel that figures have in both themes."""
    return 1.05 / (float(linear(np.array(to_rgb(color))) @ [0.2126, 0.7152, 0.0722]) + 0.05)


def lab(linear_rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ linear_rgb / to_xyz.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.fixture
def ax():
    with mpl.rc_context(dict(figures.STYLE)):
        yield Figure().subplots()


@pytest.mark.parametrize("meaning", figures.MARKS)
def test_lines_stand_out_from_the_page(meaning):
    assert contrast_on_white(figures.COLORS[meaning]) >= 3


def test_text_stands_out_from_the_page():
    assert figures.STYLE["figure.facecolor"] == figures.STYLE["savefig.facecolor"] == "white"
    for key in ("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"):
        assert contrast_on_white(figures.STYLE[key]) >= 4.5


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart(vision):
    seen = {
        meaning: lab(np.clip(VISION[vision] @ linear(np.array(to_rgb(color))), 0, 1))
        for meaning, color in figures.COLORS.items()
    }
    nearest = min(itertools.combinations(seen, 2), key=lambda pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]]))
    # 2.3 is a just noticeable difference of two patches side by side; thin lines need far more.
    assert np.linalg.norm(seen[nearest[0]] - seen[nearest[1]]) > 15, nearest


def test_meanings_differ_by_more_than_colour():
    together = [("real", "synthetic", "mixed"), ("none", "weak", "oracle"), ("theory", "released", "chance")]
    for group in together:
        marks = [figures.MARKS[meaning] for meaning in group]
        assert len({mark.dash for mark in marks}) == len(group)
        assert len({mark.marker for mark in marks}) == len(group)


def test_text_is_readable_on_a_phone():
    # 6.4 inches are 460.8 points, shown on 343 pixels.
    for key in ("font.size", "xtick.labelsize", "ytick.labelsize", "legend.fontsize", "axes.labelsize"):
        assert figures.STYLE[key] * 343 / (72 * figures.STYLE["figure.figsize"][0]) > 8.5


def test_error_bars_are_two_standard_errors(ax):
    container = figures.simulation_points(ax, [1, 2], [0.5, 0.6], [0.01, 0.02], meaning="mixed", label="s")
    (bars,) = container.lines[2]
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, [[0.48, 0.52], [0.56, 0.64]])
    assert container.lines[0].get_color() == figures.COLORS["mixed"]
    # The bars are seen even where the marker is larger.
    assert bars.get_zorder() >= container.lines[0].get_zorder()


def test_theory_is_a_line_of_its_meaning(ax):
    line = figures.theory_line(ax, [0, 1], [0, 1], meaning="oracle", label="t")
    assert line.get_color() == figures.COLORS["oracle"]
    assert line.get_marker() == "None"
    assert figures.chance_line(ax).get_ydata()[0] == 0.5
    assert list(figures.best_line(ax, 3.0).get_xdata()) == [3.0, 3.0]


def test_histogram_counts_samples_out_of_sight(ax):
    samples = np.concatenate([np.linspace(0, 1, 100), np.full(100, 5.0)])
    bars, line = figures.histogram_with_density(ax, samples, [0, 1], [1, 1], bins=4)
    assert sum(bar.get_height() * bar.get_width() for bar in bars) == pytest.approx(0.5)
    assert list(line.get_xdata()) == [0, 1]


@pytest.mark.parametrize(
    "call",
    [
        lambda ax: figures.theory_line(ax, [0], [0], meaning="reel"),
        lambda ax: figures.simulation_points(ax, [0], [0], [0], meaning="reel"),
        lambda ax: figures.best_line(ax, 0, meaning="reel"),
        lambda ax: figures.histogram_with_density(ax, [0], [0, 1], [0, 1], meaning="reel"),
    ],
)
def test_unknown_meanings_are_refused(ax, call):
    with pytest.raises(ValueError, match="meaning must be one of real, .* got 'reel'"):
        call(ax)


def test_use_style_sets_every_key():
    with mpl.rc_context():
        mpl.rcdefaults()
        figures.use_style()
        assert mpl.rcParams["font.size"] == figures.STYLE["font.size"]
        assert not mpl.rcParams["text.usetex"]


def test_figures_are_the_same_in_every_build():
    def svg() -> str:
        buffer = io.StringIO()
        with mpl.rc_context(dict(figures.STYLE)):
            figure = Figure()
            ax = figure.subplots()
            figures.simulation_points(ax, [0, 1], [0, 1], [0.1, 0.1])
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
        return buffer.getvalue()

    assert svg() == svg()

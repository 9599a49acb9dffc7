"""The look of every figure, and in `rmt_lib.figures.explore` figures the reader can move (needs ipywidgets)."""

from rmt_lib.figures.style import (
    COLORS,
    MARKS,
    STYLE,
    TEXT_COLOR,
    Mark,
    best_line,
    chance_line,
    histogram_with_density,
    simulation_points,
    theory_line,
    use_style,
)

__all__ = [
    "COLORS",
    "MARKS",
    "STYLE",
    "TEXT_COLOR",
    "Mark",
    "best_line",
    "chance_line",
    "histogram_with_density",
    "simulation_points",
    "theory_line",
    "use_style",
]

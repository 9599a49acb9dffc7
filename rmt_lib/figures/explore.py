"""Interactive figures that move with no kernel: in the built book, from an archive, in a live notebook alike.

Every frame is drawn in advance. A control is joined in the browser to a stack that shows one frame at a time,
so no Python has to run when a reader moves it. The explorer chapter asks for `live=True`: with a kernel its
controls then take any value and redraw; while the book is built (environment variable RMT_LIB_STATIC=1) it is
drawn in advance too.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import ipywidgets as widgets
import matplotlib as mpl
from IPython.display import display
from ipywidgets.widgets.widget_description import DescriptionStyle
from ipywidgets.widgets.widget_int import SliderStyle
from ipywidgets.widgets.widget_link import Link
from ipywidgets.widgets.widget_string import HTMLStyle
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from rmt_lib.execution import progress
from rmt_lib.figures.style import STYLE
from rmt_lib.figures.svg import compact

__all__ = ["MAX_BYTES", "MAX_FRAMES", "Choice", "Exploration", "Slider", "explore"]

_Places = tuple[Bbox, ...]

# The browser draws the text, and minor ticks are left out: half the size and time.
_FRAME_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "xtick.minor.bottom": False, "ytick.minor.left": False}

MAX_FRAMES = 200  # in one panel
MAX_BYTES = 8_000_000  # in one figure, all panels together

# Counted in the order of the cells: a page has its own kernel, so the numbers are unique on it and the same
# in every build.
_frame_numbers = itertools.count(1)
_model_numbers = itertools.count(1)


def show_value(value: object) -> str:
    """A value as a reader should see it: 0.1, −2, 1 000, ∞, or the text itself."""
    if isinstance(value, str):
        return value
    number = float(value)  # type: ignore[arg-type]
    if math.isinf(number):
        text = "∞"
    elif number == int(number):
        text = f"{abs(int(number)):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    else:
        text = f"{abs(number):.4g}"
    return f"\N{MINUS SIGN}{text}" if number < 0 else text


@dataclass(frozen=True)
class Choice:
    """A drop-down list for one parameter of a figure.

    Parameters
    ----------
    name
        The keyword under which `draw` gets the value.
    values
        What can be chosen, at least two.
    label
        The visible text, with the symbol: "label noise ε".
    default
        The value shown first, one of `values`.
    format
        Turns a value into the text shown for it.

    Raises
    ------
    ValueError
        A name that is no identifier, an empty label, fewer than two values, two values that look alike, or a
        default that is not among the values.
    """

    name: str
    values: Sequence[Any]
    _: KW_ONLY
    label: str
    default: Any
    format: Callable[[Any], str] = show_value

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if not (isinstance(self.name, str) and self.name.isidentifier()):
            raise ValueError(f"name must be a Python identifier, got {self.name!r}")
        if not (isinstance(self.label, str) and self.label.strip()):
            raise ValueError(f"label of {self.name!r} must be a text that is not empty, got {self.label!r}")
        if len(self.values) < 2:
            raise ValueError(f"values of {self.name!r} must be at least two, got {self.values!r}")
        if len(set(self.texts)) < len(self.texts):
            raise ValueError(f"values of {self.name!r} must all look different, got {self.texts!r}")
        if self.default not in self.values:
            raise ValueError(f"default of {self.name!r} must be one of {self.values!r}, got {self.default!r}")

    @property
    def texts(self) -> tuple[str, ...]:
        """The text shown for each value."""
        return tuple(self.format(value) for value in self.values)

    def widget(self, *, live: bool) -> widgets.Widget:
        """The control, showing the default."""
        return _control(widgets.Dropdown, self.label, options=self._options, value=self.default)

    def ends(self, widget: widgets.Widget) -> tuple[Any, Any]:
        """The first and last value that `widget`, made by this control, can take."""
        return self.values[0], self.values[-1]

    @property
    def _options(self) -> list[tuple[str, Any]]:
        return list(zip(self.texts, self.values, strict=True))


@dataclass(frozen=True)
class Slider(Choice):
    """A slider for one parameter of a figure: a `Choice` with two more fields, for `explore(..., live=True)`.

    Parameters
    ----------
    live_range
        (low, high, step) of the slider where a kernel runs; with an integer default, three integers make it take
        integers. Without it, the slider moves over `values` there too.
    log
        Whether the live slider is logarithmic: `step` then counts decades, and the values are floats.

    Raises
    ------
    ValueError
        As `Choice`; also a `live_range` that is empty, not finite, not positive with `log`, or without the
        default.
    """

    live_range: tuple[float, float, float] | None = None
    log: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.live_range is None:
            return
        low, high, step = self.live_range
        finite = all(map(math.isfinite, self.live_range))
        if not (finite and low < high and step > 0 and (low > 0 or not self.log)):
            allowed = "finite low < high and step > 0" + (", low > 0" if self.log else "")
            raise ValueError(f"live_range of {self.name!r} must be {allowed}, got {self.live_range!r}")
        if not low <= self.default <= high:
            raise ValueError(f"default of {self.name!r} must be in [{low:g}, {high:g}], got {self.default!r}")

    def widget(self, *, live: bool) -> widgets.Widget:
        """The control, showing the default: over `live_range` if live and it has one, else over `values`."""
        if not live or self.live_range is None:
            # Frames are swapped while the handle moves; a redraw waits for its release.
            return _control(
                widgets.SelectionSlider,
                self.label,
                options=self._options,
                value=self.default,
                continuous_update=not live,
            )
        low, high, step = self.live_range
        traits: dict[str, Any] = {"value": self.default, "step": step, "continuous_update": False}
        if self.log:
            limits = {"min": math.log10(low), "max": math.log10(high), "readout_format": ".3g"}
            return _control(widgets.FloatLogSlider, self.label, **limits, **traits)
        integers = all(isinstance(value, int) for value in (*self.live_range, self.default))
        kind, readout_format = (widgets.IntSlider, "d") if integers else (widgets.FloatSlider, ".3g")
        return _control(kind, self.label, min=low, max=high, readout_format=readout_format, **traits)

    def ends(self, widget: widgets.Widget) -> tuple[Any, Any]:
        if self.live_range is None or isinstance(widget, widgets.SelectionSlider):
            return super().ends(widget)
        return self.live_range[:2]


class Exploration:
    """An interactive figure; show it by ending a cell with it.

    Attributes
    ----------
    widget
        The whole figure as one widget.
    sliders
        The control of each parameter by its name (with several panels: in the first panel that has it).
    frames
        Every frame drawn in advance; in live mode, the one frame that is redrawn.
    fallback
        HTML of the default frame for a page without JavaScript, and of the caption.
    """

    def __init__(
        self,
        drawing: _Drawing,
        widget: widgets.Widget,
        *,
        sliders: Mapping[str, widgets.Widget],
        frames: Iterable[widgets.HTML],
        default_frame: str,
        caption: str,
    ) -> None:
        self.widget = widget
        self.sliders = dict(sliders)
        self.frames = tuple(frames)
        self.fallback = (
            f'<div class="rmt-explore"><noscript>{default_frame}</noscript><p class="rmt-caption">{caption}</p></div>'
        )
        self._caption = caption
        self._drawing = drawing

    def sweep(self) -> None:
        """Move every control to its first value, its last and back; in live mode, `draw` may raise here."""
        for control in self._drawing.controls:
            slider = self.sliders[control.name]
            for value in (*control.ends(slider), control.default):
                slider.value = value

    def _ipython_display_(self) -> None:
        caption = html.unescape(re.sub(r"<[^>]*>", "", self._caption))
        display({**self.widget._repr_mimebundle_(), "text/plain": caption}, raw=True)
        # A second output, since a built page keeps one format of each. The PNG is for a printed book.
        png = base64.b64encode(self._drawing.png()).decode()
        alt = self._drawing.alt_text(self._drawing.defaults)
        display({"text/html": self.fallback, "image/png": png, "text/plain": alt}, raw=True)


def explore(
    draw: Callable[..., object],
    *controls: Choice,
    caption: str,
    alt: str | Callable[..., str],
    figsize: tuple[float, float] = (6.4, 4.2),
    live: bool = False,
    panels: Mapping[str, Sequence[str]] | None = None,
    panel_label: str = "What to vary",
) -> Exploration:
    """An interactive figure from a drawing function and one or more controls.

    Parameters
    ----------
    draw
        Called as `draw(figure, **parameters)` with an empty matplotlib figure to draw on: most begin with
        `ax = figure.subplots()`. All frames take the layout of the default one: fix the limits of the axes.
    controls
        `Slider` and `Choice`; all combinations of their values are drawn, so one or two are the rule.
    caption
        Text under the figure; HTML, with mathematics in Unicode.
    alt
        What the figure shows, for those who cannot see it: a function of the parameters, or a text to which
        the values of the parameters are added.
    figsize
        Width and height of the figure in inches.
    live
        Redraw for any value where a kernel runs.
    panels
        For more controls than can be combined: by a title, the names of the controls that move together.
        Where frames are drawn in advance, the reader chooses a panel, and the others stay at their defaults.
    panel_label
        The visible text of that choice.

    Returns
    -------
    Exploration
        The figure; a cell that ends with it shows it.

    Raises
    ------
    ValueError
        No control, two of the same name, an empty caption or alternative text, panels that leave a control
        out or name another, too many frames or too large ones, or a `draw` that leaves the figure empty.
    """
    names = tuple(control.name for control in controls)
    if not controls:
        raise ValueError("controls must be at least one Slider or Choice, got none")
    if len(set(names)) < len(names):
        raise ValueError(f"controls must have different names, got {names!r}")
    if not caption.strip():
        raise ValueError(f"caption must be a text that is not empty, got {caption!r}")
    panels = {"": names} if panels is None else panels
    if {name for panel in panels.values() for name in panel} != set(names):
        raise ValueError(f"panels must name every one of {names!r} and no other, got {dict(panels)!r}")

    drawing = _Drawing(draw, controls, alt, figsize)
    if live and not _is_static():
        return _explore_live(drawing, caption)
    return _explore_static(drawing, caption, panels, panel_label)


@dataclass(frozen=True)
class _Drawing:
    """What `explore` was asked to draw."""

    draw: Callable[..., object]
    controls: tuple[Choice, ...]
    alt: str | Callable[..., str]
    figsize: tuple[float, float]

    @property
    def defaults(self) -> dict[str, Any]:
        return {control.name: control.default for control in self.controls}

    @property
    def layout(self) -> dict[str, str]:
        """As wide as the page, up to the natural size of the figure."""
        return {"width": "100%", "max_width": f"{96 * self.figsize[0]:.0f}px"}

    def alt_text(self, parameters: Mapping[str, Any]) -> str:
        alt = self.alt(**parameters) if callable(self.alt) else self.alt
        if not alt.strip():
            raise ValueError(f"alt must be a text that is not empty, got {alt!r} for {dict(parameters)!r}")
        return alt if callable(self.alt) else f"{alt} ({self.state(parameters)})"

    def state(self, parameters: Mapping[str, Any]) -> str:
        """The values of some parameters as text: "label noise ε = 0.1, ridge γ = 1"."""
        return ", ".join(
            f"{control.label} = {control.format(parameters[control.name])}"
            for control in self.controls
            if control.name in parameters
        )

    def figure(self, parameters: Mapping[str, Any]) -> Figure:
        figure = Figure(figsize=self.figsize)
        self.draw(figure, **parameters)
        if not figure.axes:
            raise ValueError("draw must draw on the figure it is given, but left it empty")
        return figure

    def png(self) -> bytes:
        """The default frame."""
        buffer = io.BytesIO()
        with mpl.rc_context(dict(STYLE)):
            self.figure(self.defaults).savefig(buffer, format="png", dpi=150)
        return buffer.getvalue()

    def frame(self, parameters: Mapping[str, Any], places: _Places = ()) -> tuple[str, _Places]:
        """One frame as HTML, and the places of its axes; `places` of another frame are kept."""
        buffer = io.StringIO()
        with mpl.rc_context({**STYLE, **_FRAME_STYLE}):
            figure = self.figure(parameters)
            if len(places) == len(figure.axes):
                figure.set_layout_engine("none")
                for ax, place in zip(figure.axes, places, strict=True):
                    ax.set_position(place)
            # What savefig does, without drawing twice; the date would differ in every build.
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
        svg = compact(buffer.getvalue(), prefix=f"rmt{next(_frame_numbers)}", alt=self.alt_text(parameters))
        places = tuple(ax.get_position(original=True) for ax in figure.axes)
        return f'<div class="rmt-frame">{svg}</div>', places


def _explore_live(drawing: _Drawing, caption: str) -> Exploration:
    sliders = {control.name: control.widget(live=True) for control in drawing.controls}
    default_frame, _ = drawing.frame(drawing.defaults)
    frame = _new(widgets.HTML, value=default_frame, layout=_frame_layout(), style=_new(HTMLStyle))

    def redraw(_: object) -> None:
        frame.value, _ = drawing.frame({name: slider.value for name, slider in sliders.items()})

    for slider in sliders.values():
        slider.observe(redraw, names="value")
    box = _column([*sliders.values(), frame], drawing.layout)
    return Exploration(drawing, box, sliders=sliders, frames=[frame], default_frame=default_frame, caption=caption)


def _explore_static(
    drawing: _Drawing, caption: str, panels: Mapping[str, Sequence[str]], panel_label: str
) -> Exploration:
    frames = _frames(drawing, panels)
    sliders: dict[str, widgets.Widget] = {}
    columns = []
    for names in panels.values():
        moving = [control for control in drawing.controls if control.name in names]
        held = {name: value for name, value in drawing.defaults.items() if name not in names}
        own = {control.name: control.widget(live=False) for control in moving}
        stack = _stack(moving, own, frames, drawing.defaults)
        parts = [*own.values(), stack]
        if held:
            text = f'<div class="rmt-held">Held fixed: {html.escape(drawing.state(held))}.</div>'
            layout = _new(widgets.Layout, width="auto")
            parts.insert(-1, _new(widgets.HTML, value=text, layout=layout, style=_new(HTMLStyle)))
        columns.append(_column(parts, drawing.layout))
        sliders = own | sliders
    box = columns[0]
    if len(columns) > 1:
        chooser = _control(widgets.Dropdown, panel_label, options=list(panels))
        box = _column([chooser, _linked_stack(chooser, columns)], drawing.layout)
    return Exploration(
        drawing,
        box,
        sliders=sliders,
        frames=frames.values(),
        default_frame=frames[tuple(drawing.defaults.values())].value,
        caption=caption,
    )


def _frames(drawing: _Drawing, panels: Mapping[str, Sequence[str]]) -> dict[tuple[Any, ...], widgets.HTML]:
    """Every frame of every panel, by the values of all parameters; panels share what they have in common."""
    # The default comes first: its layout is that of all frames, so that the figure keeps still.
    keys = {tuple(drawing.defaults.values()): None}
    for title, names in panels.items():
        grid = [c.values if c.name in names else (c.default,) for c in drawing.controls]
        count = math.prod(map(len, grid))
        if count > MAX_FRAMES:
            raise ValueError(
                f"panel {title!r} must have at most {MAX_FRAMES} frames, got {count}: "
                "give its controls fewer values, or move fewer controls together"
            )
        keys |= dict.fromkeys(itertools.product(*grid))

    frames: dict[tuple[Any, ...], widgets.HTML] = {}
    places: _Places = ()
    size = 0
    layout, style = _frame_layout(), _new(HTMLStyle)
    for key in progress(keys, total=len(keys), desc="drawing", unit="frame"):
        parameters = {control.name: value for control, value in zip(drawing.controls, key, strict=True)}
        text, new_places = drawing.frame(parameters, places)
        places = places or new_places
        size += len(text.encode())
        if size > MAX_BYTES:
            raise ValueError(
                f"frames must be at most {MAX_BYTES:,} bytes together, got {size:,} after {len(frames) + 1} "
                f"of {len(keys)}: draw fewer points or shapes, or give the controls fewer values"
            )
        # One layout and style for all: they would be a third of the page.
        frames[key] = _new(widgets.HTML, value=text, layout=layout, style=style)
    return frames


def _stack(
    moving: Sequence[Choice],
    own: Mapping[str, widgets.Widget],
    frames: Mapping[tuple[Any, ...], widgets.HTML],
    parameters: Mapping[str, Any],
) -> widgets.Widget:
    """A stack over the values of the first moving control, of stacks over the others', down to the frames."""
    if not moving:
        return frames[tuple(parameters.values())]
    first, *others = moving
    children = [_stack(others, own, frames, {**parameters, first.name: value}) for value in first.values]
    return _linked_stack(own[first.name], children, selected=first.values.index(first.default))


def _linked_stack(control: widgets.Widget, children: Sequence[widgets.Widget], *, selected: int = 0) -> widgets.Widget:
    """A stack whose shown child is chosen by the control, in the browser."""
    stack = _new(
        widgets.Stack,
        children=children,
        selected_index=selected,
        layout=_new(widgets.Layout, width="100%"),
    )
    _new(Link, source=(control, "index"), target=(stack, "selected_index"))
    return stack


def _control(kind: type[widgets.Widget], label: str, **traits: Any) -> widgets.Widget:
    """A control as wide as the figure, on a second line where the page is too narrow for one."""
    style = DescriptionStyle if kind is widgets.Dropdown else SliderStyle
    return _new(
        kind,
        description=label,
        tooltip=label,
        style=_new(style, description_width="initial"),
        layout=_new(widgets.Layout, width="auto", height="auto", flex_flow="row wrap"),
        _dom_classes=("rmt-control",),
        **traits,
    )


def _column(children: Sequence[widgets.Widget], layout: Mapping[str, str]) -> widgets.VBox:
    traits = {"layout": _new(widgets.Layout, **layout), "_dom_classes": ("rmt-explore",)}
    return _new(widgets.VBox, children=children, **traits)


def _frame_layout() -> widgets.Layout:
    return _new(widgets.Layout, width="100%", margin="0")


def _new(kind: type[widgets.Widget], **traits: Any) -> widgets.Widget:
    """A widget; in a built page its name is a number instead of random, so that every build is the same."""
    return kind(**traits, **({"model_id": f"{next(_model_numbers):032x}"} if _is_static() else {}))


def _is_static() -> bool:
    """Whether the book is being built."""
    return os.environ.get("RMT_LIB_STATIC") == "1"

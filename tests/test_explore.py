"""Interactive figures: complete before a reader moves anything, labelled, small, live where a kernel runs."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ET

import ipywidgets as widgets
import numpy as np
import pytest
from ipywidgets.widgets.widget_link import Link

from rmt_lib import figures
from rmt_lib.figures import explore as module
from rmt_lib.figures.explore import Choice, Slider, explore

EPSILON = Slider("epsilon", (0, 0.1, 0.2), label="label noise ε", default=0.1, live_range=(0.0, 0.5, 0.01))
M = Slider("m", (10, 100, 1000, 10000), label="synthetic samples m", default=100, live_range=(0, 20000, 1))
GENERATOR = Choice("generator", ("known_mean", "reused"), label="generator", default="known_mean")
TEXTS = {"caption": "Accuracy <b>falls</b> with ε &amp; m.", "alt": "A line with points."}


def draw(figure, *, epsilon=0.1, m=100, generator="known_mean"):
    ax = figure.subplots()
    x = np.geomspace(10, 1e4, 80)
    y = 0.9 - epsilon * np.exp(-x / m) - 0.1 * (generator == "reused")
    figures.theory_line(ax, x, y, meaning="mixed", label="theory, $\\varepsilon$")
    figures.simulation_points(ax, x[::10], y[::10], np.full(8, 0.01), meaning="mixed", label="simulation")
    figures.chance_line(ax)
    ax.set(xscale="log", ylim=(0.4, 1), xlabel="samples $m$", ylabel="accuracy", title=f"ε = {epsilon:g}")
    ax.legend()


def broken(figure, *, epsilon):
    if epsilon > 0.3:
        raise ZeroDivisionError("too noisy")
    draw(figure, epsilon=epsilon)


def svg(frame: str) -> ET.Element:
    return ET.fromstring(frame).find("svg")


def descendants(widget: widgets.Widget) -> list[widgets.Widget]:
    return [widget, *itertools.chain.from_iterable(map(descendants, getattr(widget, "children", ())))]


def shown(widget: widgets.Widget) -> list[str]:
    """The frames to be seen in a part of a figure."""
    if isinstance(widget, widgets.Stack):
        return shown(widget.children[widget.selected_index])
    if isinstance(widget, widgets.HTML):
        return [widget.value] if "<svg" in widget.value else []
    return [frame for child in getattr(widget, "children", ()) for frame in shown(child)]


@pytest.fixture
def static(monkeypatch):
    monkeypatch.setenv("RMT_LIB_STATIC", "1")


@pytest.fixture
def kernel(monkeypatch):
    monkeypatch.delenv("RMT_LIB_STATIC", raising=False)


@pytest.fixture
def links(monkeypatch):
    """Every link made between a control and a stack."""
    made = []
    new = module._new

    def record(kind, **traits):
        widget = new(kind, **traits)
        made.extend([widget] if kind is Link else [])
        return widget

    monkeypatch.setattr(module, "_new", record)
    return made


@pytest.mark.parametrize("live", [False, True])
def test_one_slider_has_a_frame_for_each_value(static, live):
    figure = explore(draw, EPSILON, **TEXTS, live=live)
    assert len(figure.frames) == 3
    slider = figure.sliders["epsilon"]
    assert isinstance(slider, widgets.SelectionSlider)
    assert (slider.description, slider.value, slider.label) == ("label noise ε", 0.1, "0.1")
    (frame,) = shown(figure.widget)
    assert "label noise ε = 0.1" in svg(frame).attrib["aria-label"]


def test_two_sliders_have_a_frame_for_each_pair(kernel, links):
    figure = explore(draw, EPSILON, M, **TEXTS)
    assert len(figure.frames) == 12
    # One link to the outer stack, and one to each inner stack: moving a handle is all that selects a frame.
    assert sorted(link.source[0].description for link in links) == ["label noise ε"] + 3 * [M.label]
    for epsilon, m in itertools.product(range(3), range(4)):
        figure.sliders["epsilon"].index, figure.sliders["m"].index = epsilon, m
        for link in links:
            (source, source_trait), (target, target_trait) = link.source, link.target
            setattr(target, target_trait, getattr(source, source_trait))
        (frame,) = shown(figure.widget)
        alt = svg(frame).attrib["aria-label"]
        assert f"ε = {EPSILON.texts[epsilon]}, synthetic samples m = {M.texts[m]})" in alt


def test_panels_hold_the_other_parameters(static, links):
    figure = explore(
        draw,
        EPSILON,
        M,
        GENERATOR,
        **TEXTS,
        live=True,
        panels={"noise": ("epsilon", "m"), "kind": ("generator",)},
    )
    # The default frame is in both panels, and drawn once.
    assert len(figure.frames) == 3 * 4 + 2 - 1
    chooser, stack = figure.widget.children
    assert isinstance(chooser, widgets.Dropdown)
    assert (chooser.description, chooser.options) == ("What to vary", ("noise", "kind"))
    assert any(link.source[0] is chooser and link.target[0] is stack for link in links)
    stack.selected_index = 1
    (frame,) = shown(figure.widget)
    assert "ε = 0.1, synthetic samples m = 100, generator = known_mean" in svg(frame).attrib["aria-label"]
    held = [w.value for w in descendants(stack.children[1]) if "Held fixed" in getattr(w, "value", "")]
    assert held == ['<div class="rmt-held">Held fixed: label noise ε = 0.1, synthetic samples m = 100.</div>']


def test_every_control_moves_something(static, links):
    figure = explore(draw, EPSILON, M, GENERATOR, **TEXTS, panels={"noise": ("epsilon", "m"), "kind": ("generator",)})
    controls = [w for w in descendants(figure.widget) if isinstance(w, widgets.SelectionSlider | widgets.Dropdown)]
    assert len(controls) == 4
    linked = {link.source[0] for link in links}
    assert set(controls) == linked


def test_every_frame_says_what_it_shows(static):
    figure = explore(draw, EPSILON, caption="C.", alt=lambda epsilon: f'Noise <"{epsilon}">')
    roots = [svg(frame.value) for frame in figure.frames]
    assert {root.attrib["role"] for root in roots} == {"img"}
    assert {root.attrib["aria-label"] for root in roots} == {'Noise <"0">', 'Noise <"0.1">', 'Noise <"0.2">'}


def test_ids_are_unique_on_a_page(static):
    pages = [explore(draw, EPSILON, **TEXTS), explore(draw, EPSILON, **TEXTS)]
    ids = [found for page in pages for frame in page.frames for found in re.findall(r'\bid="([^"]+)"', frame.value)]
    assert ids
    assert len(set(ids)) == len(ids)


def test_a_frame_stands_alone(static):
    """Nothing in a frame reaches for an id outside it, or styles the page around it."""
    for frame in explore(draw, EPSILON, **TEXTS).frames:
        ids = set(re.findall(r'\bid="([^"]+)"', frame.value))
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', frame.value)) <= ids
        assert "<style" not in frame.value and "<metadata" not in frame.value


def test_text_survives_compaction(static):
    (frame, *_) = explore(draw, EPSILON, **TEXTS).frames
    texts = {"".join(element.itertext()) for element in svg(frame.value).iter("text")}
    # matplotlib sets the space before a formula as a no-break space.
    expected = {"accuracy", "ε = 0.1", "samples\xa0m", "theory,\xa0ε", "simulation", "chance", "0.5", "102"}
    assert expected <= texts


def test_frames_are_small(static):
    size = max(len(frame.value.encode()) for frame in explore(draw, EPSILON, **TEXTS).frames)
    print(f"largest frame: {size} bytes")
    assert size < 14_000


def test_frames_keep_still(static):
    """All frames have the axes of the default frame, whatever their labels."""

    def moving(figure, *, epsilon):
        figure.subplots().set(ylim=(0, 10 ** (40 * epsilon)))

    clips = {
        tuple(rect.attrib.items())
        for frame in explore(moving, EPSILON, **TEXTS).frames
        for rect in svg(frame.value).iter("path")
        if rect.attrib.get("style") == "fill:#ffffff"
    }
    assert len(clips) == 2  # The figure and the axes.


def test_without_javascript_the_default_frame_is_shown(static):
    figure = explore(draw, EPSILON, M, **TEXTS)
    (fallback,) = re.findall(r"<noscript>(.*)</noscript>", figure.fallback, flags=re.DOTALL)
    assert [fallback] == shown(figure.widget)
    assert "ε = 0.1, synthetic samples m = 100" in svg(fallback).attrib["aria-label"]
    # The caption is outside, for all.
    assert figure.fallback.endswith(f'</noscript><p class="rmt-caption">{TEXTS["caption"]}</p></div>')


def test_display_is_a_widget_and_a_fallback(static, monkeypatch):
    bundles = []
    monkeypatch.setattr(module, "display", lambda bundle, raw: bundles.append(bundle))
    figure = explore(draw, EPSILON, **TEXTS)
    figure._ipython_display_()
    widget, fallback = bundles
    assert "application/vnd.jupyter.widget-view+json" in widget
    assert widget["text/plain"] == "Accuracy falls with ε & m."
    assert fallback["text/html"] == figure.fallback
    assert fallback["text/plain"] == "A line with points. (label noise ε = 0.1)"


def test_a_build_repeats_itself(static, monkeypatch):
    def build():
        monkeypatch.setattr(module, "_frame_numbers", itertools.count(1))
        monkeypatch.setattr(module, "_model_numbers", itertools.count(1))
        figure = explore(draw, EPSILON, M, **TEXTS)
        ids = [widget.model_id for widget in descendants(figure.widget)]
        widgets.Widget.close_all()
        return figure.fallback, [frame.value for frame in figure.frames], ids

    assert build() == build()


def test_live_controls_take_any_value(kernel):
    figure = explore(draw, EPSILON, M, GENERATOR, **TEXTS, live=True)
    (frame,) = figure.frames
    assert shown(figure.widget) == [frame.value]
    assert isinstance(figure.sliders["epsilon"], widgets.FloatSlider)
    assert isinstance(figure.sliders["m"], widgets.IntSlider)
    # Computing for every pixel of a drag would be slow.
    assert not figure.sliders["epsilon"].continuous_update
    before = frame.value
    figure.sliders["epsilon"].value = 0.37
    assert "ε = 0.37" in svg(frame.value).attrib["aria-label"]
    assert frame.value != before
    figure.sliders["generator"].value = "reused"
    assert "generator = reused" in svg(frame.value).attrib["aria-label"]


def test_logarithmic_live_slider(kernel):
    gamma = Slider("gamma", (0.1, 1, 10), label="ridge γ", default=1, live_range=(1e-3, 1e3, 0.1), log=True)
    seen = []

    def record(figure, *, gamma):
        seen.append(gamma)
        figure.subplots()

    figure = explore(record, gamma, **TEXTS, live=True)
    assert isinstance(figure.sliders["gamma"], widgets.FloatLogSlider)
    figure.sweep()
    assert seen == pytest.approx([1, 1e-3, 1e3, 1])


def test_live_errors_are_not_swallowed(kernel):
    figure = explore(broken, EPSILON, **TEXTS, live=True)
    with pytest.raises(ZeroDivisionError, match="too noisy"):
        figure.sliders["epsilon"].value = 0.4
    figure = explore(broken, EPSILON, **TEXTS, live=True)
    with pytest.raises(ZeroDivisionError, match="too noisy"):
        figure.sweep()


def test_errors_while_drawing_in_advance_are_not_swallowed(static):
    wide = Slider("epsilon", (0, 0.4), label="label noise ε", default=0)
    with pytest.raises(ZeroDivisionError, match="too noisy"):
        explore(broken, wide, **TEXTS)


@pytest.mark.parametrize("live", [False, True])
def test_sweep_returns_to_the_default(kernel, live):
    figure = explore(draw, EPSILON, GENERATOR, **TEXTS, live=live)
    before = shown(figure.widget)[0].count("<use")
    figure.sweep()
    assert (figure.sliders["epsilon"].value, figure.sliders["generator"].value) == (0.1, "known_mean")
    assert shown(figure.widget)[0].count("<use") == before


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.1, "0.1"),
        (-2, "−2"),
        (1000, "1\u202f000"),
        (math.inf, "∞"),
        (1 / 3, "0.3333"),
        ("a", "a"),
    ],
)
def test_values_as_a_reader_sees_them(value, text):
    assert module.show_value(value) == text


def test_values_may_be_an_array():
    slider = Slider("x", np.linspace(0, 1, 5), label="x", default=0.25)
    assert slider.texts == ("0", "0.25", "0.5", "0.75", "1")


GOOD = {"name": "x", "values": (0, 1), "label": "a label", "default": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "not a name"}, "name must be a Python identifier, got 'not a name'"),
        ({"name": 3}, "name must be a Python identifier, got 3"),
        ({"label": " "}, "label of 'x' must be a text that is not empty, got ' '"),
        ({"values": (0,)}, r"values of 'x' must be at least two, got \(0,\)"),
        ({"values": (0, 1, 1)}, "values of 'x' must all look different"),
        ({"values": (0, 1, 1 + 1e-9)}, "values of 'x' must all look different"),
        ({"default": 0.5}, r"default of 'x' must be one of \(0, 1\), got 0.5"),
        (
            {"live_range": (1, 0, 0.1)},
            r"live_range of 'x' must be finite low < high and step > 0, got \(1, 0, 0.1\)",
        ),
        ({"live_range": (0, math.inf, 0.1)}, "live_range of 'x' must be finite"),
        ({"live_range": (0, 1, 0)}, "live_range of 'x' must be .* step > 0"),
        ({"live_range": (0, 1, 1), "log": True}, "live_range of 'x' must be .* low > 0"),
        ({"live_range": (1, 2, 1)}, r"default of 'x' must be in \[1, 2\], got 0"),
    ],
)
def test_bad_controls_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Slider(**{**GOOD, **change})


@pytest.mark.parametrize(
    ("controls", "change", "message"),
    [
        ((), {}, "controls must be at least one"),
        ((EPSILON, EPSILON), {}, "controls must have different names"),
        ((EPSILON,), {"caption": " "}, "caption must be a text that is not empty"),
        ((EPSILON,), {"alt": ""}, "alt must be a text that is not empty"),
        ((EPSILON,), {"alt": lambda epsilon: ""}, "alt must be a text that is not empty"),
        ((EPSILON, M), {"panels": {"a": ("epsilon",)}}, "panels must name every one"),
        ((EPSILON,), {"panels": {"a": ("epsilon", "rho")}}, "panels must name every one"),
        ((EPSILON,), {"panels": {}}, "panels must name every one"),
    ],
)
def test_bad_figures_are_refused(static, controls, change, message):
    with pytest.raises(ValueError, match=message):
        explore(draw, *controls, **{**TEXTS, **change})


def test_an_empty_drawing_is_refused(static):
    with pytest.raises(ValueError, match="draw must draw on the figure it is given"):
        explore(lambda figure, epsilon: None, EPSILON, **TEXTS)


def test_too_many_frames_are_refused_before_any_is_drawn(static):
    many = [Slider(name, range(15), label=name, default=0) for name in "ab"]
    with pytest.raises(ValueError, match="at most 200 frames, got 225: give its controls fewer values"):
        explore(lambda figure, a, b: pytest.fail("drawn"), *many, **TEXTS)


def test_too_large_frames_are_refused(static, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 20_000)
    with pytest.raises(ValueError, match="frames must be at most 20,000 bytes together, got .* after 2 of 3"):
        explore(draw, EPSILON, **TEXTS)

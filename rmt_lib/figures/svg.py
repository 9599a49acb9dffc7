"""matplotlib's SVG made fit for the middle of a page: small, with unique ids and an alternative text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_FONT = "font-family:DejaVu Sans,Verdana,sans-serif"
_NUMBERS = frozenset(("d", "height", "points", "transform", "width", "x", "y"))


def compact(svg: str, *, prefix: str, alt: str) -> str:
    """matplotlib's SVG made fit for the middle of a page: alternative text, unique ids and fewer digits."""
    root = ET.fromstring(svg)
    used = dict.fromkeys(re.findall(r"(?:url\(|href=\")#([^\")]+)", svg))
    ids = {old: f"{prefix}-{number}" for number, old in enumerate(used, 1)}
    _tidy(root, ids)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-label": alt,
        # The joins are what matplotlib says in the style sheet.
        "style": f"display:block;width:100%;height:auto;{_FONT};stroke-linejoin:round;stroke-linecap:butt",
    }
    return ET.tostring(root, encoding="unicode", short_empty_elements=True)


def _tidy(parent: ET.Element, ids: Mapping[str, str]) -> None:
    """Shorten the attributes of an element and all below it, and leave out what is not seen."""
    parent.tag = parent.tag.removeprefix(_SVG)
    parent.attrib = {
        ("href" if name == _HREF else name): _short(name, value, ids)
        for name, value in parent.attrib.items()
        if (name != "id" or value in ids) and not value.startswith("rotate(-0 ")
    }
    if parent.tag not in ("text", "tspan"):
        parent.text = None
    children: list[ET.Element] = []
    for child in parent:
        # A style sheet would apply to the whole page.
        if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
            continue
        _tidy(child, ids)
        child.tail = None
        if child.tag == "g" and not child.attrib:
            children += child
        elif child.tag == "tspan" and children and _same_line(children[-1], child):
            children[-1].attrib["x"] += f" {child.attrib['x']}"
            children[-1].text = f"{children[-1].text}{child.text}"
        elif len(child) or child.text or child.tag not in ("g", "defs"):
            children.append(child)
    if parent.tag == "text" and children:
        parent.text = None
    parent[:] = children


def _same_line(left: ET.Element, right: ET.Element) -> bool:
    """Whether two pieces of a formula, one glyph each, can be one piece with a list of places."""
    return all(left.attrib.get(name) == right.attrib.get(name) for name in ("y", "style"))


def _short(name: str, value: str, ids: Mapping[str, str]) -> str:
    """One SVG attribute, shortened where it holds numbers and renamed where it holds an id."""
    if name == "id":
        return ids[value]
    if name == _HREF and value.startswith("#"):
        return f"#{ids[value[1:]]}"
    if name in _NUMBERS:
        value = re.sub(r"-?\d+\.\d+", lambda match: f"{round(float(match[0]), 2) + 0:g}", value)
        return " ".join(value.split())
    if name == "style":
        value = re.sub(r"font-family: 'DejaVu Sans'[^;]*;? ?", "", value)
        value = value.replace(": ", ":").replace("; ", ";")
    return re.sub(r"url\(#([^)]+)\)", lambda match: f"url(#{ids[match[1]]})", value)

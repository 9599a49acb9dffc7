"""Reads the docstrings of `rmt_lib` for chapters/api.md as they are meant, where Sphinx would read them otherwise."""

from __future__ import annotations

import re
from importlib import import_module

from sphinx.pycode import ModuleAnalyzer


def only_described(app, what, name, obj, skip, options):
    """Leave out a field without a docstring of its own: it stands in the signature of its class.

    Sphinx would list a field of a named tuple as "Alias for field number 0", and a default that is a function as a
    method.
    """
    if what != "class":
        return None
    place = app.env.temp_data
    owner = getattr(import_module(place["autodoc:module"]), place["autodoc:class"])
    fields = getattr(owner, "_fields", None) or getattr(owner, "__dataclass_fields__", ())
    described = ModuleAnalyzer.for_module(owner.__module__).find_attr_docs()
    return True if name in fields and (owner.__name__, name) not in described else None


def named_defaults(app, what, name, obj, options, signature, returns):
    """A default that is a function goes by its name; `<function show_value>` is no Python, and no type is linked."""
    return re.sub(r"<function (\w+)>", r"\1", signature or "") or None, returns


def whole_sentences(app, what, name, obj, options, lines):
    """Keep napoleon from reading "Two curves: one for each class" of a property as a type and its description.

    It looks for a colon in the first line only, and that is now an empty comment.
    """
    if what in ("attribute", "property"):
        lines[:0] = ["..", ""]


def parameters_in_lines(app, pagename, templatename, context, doctree):
    """A signature of several lines is a list of definitions without terms: to a screen reader it is no list."""
    if "body" in context:
        context["body"] = context["body"].replace("<dl>\n<dd>", '<dl role="presentation">\n<dd>')


def setup(app):
    app.connect("autodoc-skip-member", only_described)
    app.connect("autodoc-process-signature", named_defaults)
    app.connect("autodoc-process-docstring", whole_sentences, priority=400)  # before napoleon
    app.connect("html-page-context", parameters_in_lines)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

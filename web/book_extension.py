"""What this book adds to Sphinx: a page that needs no network, an index of theorems, a social preview."""

from __future__ import annotations

import os
import re
from html import escape
from itertools import groupby
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
from docutils import nodes
from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

# Read by the kernels that run the notebooks: figures are drawn for a page without a kernel, without progress bars.
os.environ["RMT_LIB_STATIC"] = "1"
os.environ["TQDM_DISABLE"] = "1"

SOCIAL_IMAGE = "social.png"
DESCRIPTION = "Theorems, simulations and sliders on classifiers trained on real and synthetic data."


def prepare_builder(app):
    """Vector figures for LaTeX; for HTML fail early, with the remedy, without the third-party front-end files."""
    if app.builder.format == "latex":
        os.environ["RMT_LIB_PRINT"] = "1"
    if app.builder.format == "html" and not Path(app.srcdir, "web", "assets", ".ready").exists():
        raise ExtensionError("web/assets is missing: run `make assets` first")


def run_notebooks(app, env, docnames):
    """Run the notebooks that are about to be read side by side, where Sphinx would take one after another.

    What fails here is not in the cache: it is run again when it is read, and that reports it.
    """
    config = env.mystnb_config
    if config.execution_mode != "cache":
        return
    cache = get_cache(config.execution_cache_path)
    # Always anew: the cache does not see a change of the library.
    cache.clear_cache()
    for path in map(Path, map(env.doc2path, docnames)):
        if path.suffix == ".ipynb":
            cache.add_nb_to_project(str(path))
    load_executor("local-parallel", cache).run_and_cache(timeout=config.execution_timeout)


def unique_ids(app, doctree):
    """sphinx-proof gives every block of a page the same two ids; number them, for an id has to be unique."""
    shared = (n for n in doctree.findall(nodes.Element) if n.get("ids") in (["proof-content"], ["proof"]))
    for number, node in enumerate(shared, start=1):
        node["ids"] = [f"{node['ids'][0]}-{number}"]


def bold_proof(app, doctree):
    """The word that opens a proof stands out, as the titles of the other blocks do."""
    for block in doctree.findall(nodes.admonition):
        if "proof" not in block["classes"] or not isinstance(block[0], nodes.paragraph):
            continue
        first = block[0][0]
        if isinstance(first, nodes.Text) and first.startswith("Proof."):
            block[0].replace(first, [nodes.strong(text="Proof."), nodes.Text(first[len("Proof.") :])])


# ---------------------------------------------------------------------------------------------- index of theorems


class theorem_index(nodes.General, nodes.Element):
    """Stands for the index until the numbers are known."""


class TheoremIndex(SphinxDirective):
    """Lists every numbered block of the book: kind and number, title, chapter."""

    def run(self):
        return [theorem_index()]


def reading_order(env):
    """Names of the documents as the sidebar has them."""
    order, todo = [], [env.config.root_doc]
    while todo:
        docname = todo.pop(0)
        order.append(docname)
        todo = list(env.toctree_includes.get(docname, [])) + todo
    return order


def numbered_blocks(env):
    """(document, block, number) for every labelled block of sphinx-proof."""
    for docname in reading_order(env):
        numbers = env.toc_fignumbers.get(docname, {})
        for block in env.get_doctree(docname).findall(lambda n: isinstance(n, nodes.Element) and "realtype" in n):
            number = numbers.get(block["countertype"], {}).get(block["label"])
            if number:
                yield docname, block, ".".join(map(str, number))


def fill_theorem_index(app, doctree, docname):
    """Put the list in the place of the directive: chapters, and under each its blocks with number and title."""
    env = app.env
    for place in list(doctree.findall(theorem_index)):
        chapters = nodes.bullet_list(classes=["theorem-index"])
        for target, blocks in groupby(numbered_blocks(env), key=lambda found: found[0]):
            link = make_refnode(app.builder, docname, target, "", nodes.Text(env.titles[target].astext()))
            entries = nodes.bullet_list()
            for _, block, number in blocks:
                name = nodes.Text(f"{block['realtype'].title()} {number}")
                link_to_block = make_refnode(app.builder, docname, target, block["ids"][0], name)
                title = [child.deepcopy() for child in block[0].children]
                entries += nodes.list_item("", nodes.paragraph("", "", link_to_block, nodes.Text(" "), *title))
                # Sphinx loads MathJax only where it has seen maths in the source.
                env.get_domain("math").data["has_equations"][docname] = True
            chapters += nodes.list_item("", nodes.paragraph("", "", nodes.strong("", "", link)), entries)
        place.replace_self(chapters if len(chapters) else nodes.paragraph(text="There are no numbered blocks yet."))


# ------------------------------------------------------------------------------------------------- head of a page


def without_thebe(files):
    """sphinx-thebe is unused, and its inline script is emitted twice: the second time is a SyntaxError."""
    return [f for f in files if "thebe" not in str(f) and "thebe" not in str(getattr(f, "attributes", {}).get("body"))]


def first_paragraph(doctree, limit=200):
    """Plain text of the first paragraph, for a preview."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = re.sub(r"\s+", " ", paragraph.astext()).strip()
        if len(text) > 40:
            return text if len(text) <= limit else text[: limit - 1].rsplit(" ", 1)[0] + "…"
    return DESCRIPTION


def site_address(config):
    """Address of the published book: the one set in `_config.yml`, else that of the repository's GitHub Pages."""
    if config.html_baseurl:
        return config.html_baseurl.rstrip("/") + "/"
    owner, name = urlparse(config.html_theme_options["repository_url"]).path.strip("/").split("/")
    return f"https://{owner}.github.io/{name}/"


def finish_context(app, pagename, templatename, context, doctree):
    context["script_files"] = without_thebe(context["script_files"])
    context["css_files"] = without_thebe(context["css_files"])
    if doctree is None:
        return
    site = site_address(app.config)
    description = first_paragraph(doctree)
    title = nodes.Text(context["title"]).astext()
    tags = {
        "og:type": "article",
        "og:site_name": app.config.html_title or app.config.project,
        "og:title": re.sub(r"<[^>]+>", "", title),
        "og:description": description,
        "og:url": f"{site}{pagename}.html",
        "og:image": f"{site}_static/{SOCIAL_IMAGE}",
        "og:image:alt": "Marchenko-Pastur densities",
    }
    lines = [f'<meta property="{key}" content="{escape(value)}">' for key, value in tags.items()]
    lines.append(f'<meta name="description" content="{escape(description)}">')
    lines.append('<meta name="twitter:card" content="summary_large_image">')
    context["metatags"] = context.get("metatags", "") + "\n" + "\n".join(lines) + "\n"


def draw_social_image(app, error):
    if error or app.builder.format != "html":
        return
    from matplotlib.figure import Figure

    from rmt_lib.marchenko_pastur import density

    figure = Figure(figsize=(12, 6.3), dpi=100, facecolor="#0f2a43")
    axes = figure.add_axes((0, 0, 1, 0.72))
    x = np.linspace(1e-3, 3.6, 1500)
    for ratio, colour in ((0.1, "#f2b84b"), (0.3, "#56b4e9"), (0.7, "#7fd1ae")):
        y = density(x, ratio)
        axes.fill_between(x, y, color=colour, alpha=0.18, linewidth=0)
        axes.plot(x, np.where(y > 0, y, np.nan), color=colour, linewidth=4)
    axes.set(xlim=(0, 3.6), ylim=(0, 1.25))
    axes.axis("off")
    figure.text(0.06, 0.86, app.config.project, color="white", fontsize=34, weight="bold", va="center")
    figure.text(0.06, 0.75, "Theorems, simulations and sliders", color="#cfe3f5", fontsize=22, va="center")
    figure.savefig(Path(app.outdir, "_static", SOCIAL_IMAGE))


def setup(app):
    app.add_node(theorem_index)
    app.add_directive("theorem-index", TheoremIndex)
    app.connect("builder-inited", prepare_builder)
    app.connect("env-before-read-docs", run_notebooks)
    app.connect("doctree-read", unique_ids)
    app.connect("doctree-read", bold_proof)
    app.connect("doctree-resolved", fill_theorem_index)
    # After the theme and the other extensions have had their say.
    app.connect("html-page-context", finish_context, priority=990)
    app.connect("build-finished", draw_social_image)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

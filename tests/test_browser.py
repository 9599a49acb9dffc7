"""Every page of the built book, in a real browser with no network: `make test` builds it first.

One page load does several checks, so the file stays fast; each failure says which page and what was found.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
PAGES = sorted(path.relative_to(HTML).as_posix() for path in HTML.rglob("*.html") if "_static" not in path.parts)
CHAPTERS = [page for page in PAGES if page != "index.html"]
WIDGET_PAGES = [
    page for page in CHAPTERS if "application/vnd.jupyter.widget-view+json" in (HTML / page).read_text("utf8")
]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]
PHONE = {"width": 375, "height": 800}
DESKTOP = {"width": 1280, "height": 900}

needs_book = pytest.mark.skipif(
    not PAGES and not os.environ.get("RMT_BOOK_REQUIRED"), reason="the book is not built: run make book"
)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("RMT_BROWSER_REQUIRED"), reason="no Chromium on this machine"
)
pytestmark = needs_book


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Keep the requests out of the test report."""


@pytest.fixture(scope="module")
def address():
    """The built book on a port of 127.0.0.1."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=HTML))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    assert CHROMIUM, "a browser is required here, and there is no Chromium"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


class Visit:
    """One page with a record of everything that went wrong on it."""

    def __init__(self, context, url, inside, lands_on):
        self.troubles = []
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self.troubles.append(f"page error: {error}"))
        self.page.on("console", lambda m: m.type == "error" and self.troubles.append(f"console: {m.text}"))
        self.page.on("requestfailed", lambda r: self.troubles.append(f"failed: {r.url[:200]}"))
        self.page.on("response", lambda r: r.status >= 400 and self.troubles.append(f"{r.status}: {r.url[:200]}"))
        self.page.on("request", lambda r: self.check_request(r.url, inside))
        self.page.goto(url, wait_until="load")
        if lands_on:
            self.page.wait_for_url(lands_on, wait_until="load")
        self.settle()

    def check_request(self, url, inside):
        if not url.startswith((inside, "data:", "blob:")):
            self.troubles.append(f"outside request: {url[:200]}")

    def settle(self):
        """Wait for the maths and for every widget."""
        self.page.evaluate("() => window.MathJax?.startup?.promise")
        self.page.wait_for_function(
            """() => [...document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]')]
                .every(script => script.parentElement.querySelector('.lm-Widget'))"""
        )
        # Labels are typeset after their widget has appeared.
        self.page.evaluate("() => new Promise(done => setTimeout(done, 100))")


@pytest.fixture
def visit(browser, address):
    """Open a page of the book in a fresh browser context."""
    contexts = []

    def open_page(page, *, base=None, viewport=DESKTOP, lands_on=None):
        context = browser.new_context(viewport=viewport, color_scheme="light", reduced_motion="reduce")
        contexts.append(context)
        base = base or address
        return Visit(context, f"{base}/{page}", base, lands_on)

    yield open_page
    for context in contexts:
        context.close()


# ------------------------------------------------------------------------------------------ what a reader sees

LAYOUT = r"""() => {
  const found = [];
  const main = document.querySelector("main");
  for (const error of document.querySelectorAll("mjx-merror, .MathJax_Error"))
    found.push("maths error: " + (error.dataset.mjxError || error.textContent));
  const copy = main.cloneNode(true);
  copy.querySelectorAll("pre, code, script, style, mjx-container").forEach(node => node.remove());
  for (const raw of ["\\begin{", "$$", "\\(", "\\["])
    if (copy.textContent.includes(raw)) found.push("raw TeX: " + raw);
  if (document.scrollingElement.scrollWidth > window.innerWidth) {
    const wide = [...document.querySelectorAll("main *")].filter(node => {
      if (node.getBoundingClientRect().right <= window.innerWidth + 1) return false;
      for (let box = node.parentElement; box; box = box.parentElement)
        if (["auto", "scroll", "hidden"].includes(getComputedStyle(box).overflowX)) return false;
      return true;
    });
    found.push("wider than the screen: " + document.scrollingElement.scrollWidth + " px, "
      + wide.slice(0, 3).map(node => node.tagName + "." + node.className).join(" "));
  }
  const headings = [...main.querySelectorAll("h1, h2, h3, h4, h5, h6")].filter(node => node.getClientRects().length);
  const levels = headings.map(heading => Number(heading.tagName[1]));
  if (levels.filter(level => level === 1).length !== 1 || levels[0] !== 1) found.push("not one h1, first: " + levels);
  levels.forEach((level, i) => { if (i && level > levels[i - 1] + 1) found.push("heading level skipped: " + levels); });
  for (const image of main.querySelectorAll("img"))
    if (!(image.getAttribute("alt") || "").trim()) found.push("img without alt: " + image.src.slice(0, 80));
  for (const image of main.querySelectorAll("[role=img]:not([aria-hidden=true])"))
    if (!(image.getAttribute("aria-label") || "").trim()) found.push("role=img without a name: " + image.tagName);
  for (const slider of document.querySelectorAll("[role=slider]"))
    if (["", "value"].includes((slider.getAttribute("aria-label") || "").trim())) found.push("slider without a name");
  return found;
}"""

AUDIT = """async rules => {
  const report = await axe.run(document, { resultTypes: ["violations"], ...(rules && { runOnly: rules }) });
  return report.violations
    .filter(v => ["serious", "critical"].includes(v.impact))
    .map(v => `${v.id}: ${v.nodes.length} x, ` + v.nodes.slice(0, 4).map(n =>
      n.target.join(" ") + " " + (n.any[0]?.message || "")).join(" | "));
}"""
# A theme changes colours and nothing else. The formulas, thousands of nodes each, take the colour of the text.
COLOURS = ["color-contrast", "link-in-text-block"]
DARKEN = """() => {
  document.documentElement.dataset.theme = "dark";
  document.querySelectorAll("mjx-container").forEach(formula => formula.replaceChildren());
}"""


@needs_browser
@pytest.mark.parametrize("page", CHAPTERS)
def test_page_is_sound(visit, page):
    """No failed or outside request, no error, sound maths and layout on a phone, accessible in light and dark."""
    seen = visit(page, viewport=PHONE)
    troubles = seen.page.evaluate(LAYOUT)
    seen.page.set_viewport_size(DESKTOP)
    seen.page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 100)))")
    seen.page.add_script_tag(path=AXE)
    troubles += [f"light: {violation}" for violation in seen.page.evaluate(AUDIT)]
    seen.page.evaluate(DARKEN)
    troubles += [f"dark: {violation}" for violation in seen.page.evaluate(AUDIT, COLOURS)]
    assert not seen.troubles + troubles, "\n".join([page, *seen.troubles, *troubles])


# ------------------------------------------------------------------------------------------------ live controls

# The figure a control belongs to; the markup of the pictures now visible in it; the names of the sliders that are.
FIGURE = 'control.closest(".cell")'
PICTURES = f"""control => [...{FIGURE}.querySelectorAll(".rmt-frame, img, svg")]
  .filter(node => node.getClientRects().length).map(node => node.outerHTML).join()"""
SLIDERS = f"""control => [...{FIGURE}.querySelectorAll("[role=slider]")]
  .filter(node => node.getClientRects().length).map(node => node.ariaLabel).join()"""


def move_and_return(page, control, away, back):
    """A control has to change the picture, and moving it back has to restore it."""
    before = control.evaluate(PICTURES)
    assert before, "no picture beside the control"
    away()
    page.wait_for_function(
        f"([control, before]) => ({PICTURES})(control) !== before", arg=[control, before], timeout=20_000
    )
    back()
    page.wait_for_function(
        f"([control, before]) => ({PICTURES})(control) === before", arg=[control, before], timeout=20_000
    )


def move_sliders(page, figure):
    """Move every visible slider of a figure by one step and back; how many there are."""
    sliders = [slider for slider in figure.query_selector_all("[role=slider]") if slider.is_visible()]
    for slider in sliders:
        now, top = (float(slider.get_attribute(name)) for name in ("aria-valuenow", "aria-valuemax"))
        there, back = ("ArrowLeft", "ArrowRight") if now >= top else ("ArrowRight", "ArrowLeft")
        move_and_return(page, slider, lambda: slider.press(there), lambda: slider.press(back))  # noqa: B023
    return len(sliders)


def visible_menus(figure, known=()):
    """The menus of a figure that a reader sees now, without the known ones."""
    menus = [menu for menu in figure.query_selector_all("select") if menu.is_visible()]
    return [menu for menu in menus if not any(menu.evaluate("(menu, other) => menu === other", one) for one in known)]


def move_menu(page, figure, menu, known):
    """Choose every entry of a menu: it shows another picture, or other sliders and menus, which then move."""
    first = menu.evaluate("menu => menu.selectedIndex")
    pictures, sliders = menu.evaluate(PICTURES), menu.evaluate(SLIDERS)
    for index in range(menu.evaluate("menu => menu.options.length")):
        if index == first:
            continue
        menu.select_option(index=index)
        page.wait_for_function(
            f"([menu, pictures, sliders]) => ({PICTURES})(menu) !== pictures || ({SLIDERS})(menu) !== sliders",
            arg=[menu, pictures, sliders],
            timeout=20_000,
        )
        if menu.evaluate(SLIDERS) != sliders:
            move_sliders(page, figure)
            for inner in visible_menus(figure, known):
                move_menu(page, figure, inner, [*known, inner])
    menu.select_option(index=first)
    page.wait_for_function(f"([menu, before]) => ({PICTURES})(menu) === before", arg=[menu, pictures], timeout=20_000)


@needs_browser
@pytest.mark.parametrize("page", WIDGET_PAGES)
def test_controls_change_what_is_shown(visit, page):
    """Every slider by keyboard and every menu; no other kind of control is allowed."""
    seen = visit(page)
    figures = seen.page.query_selector_all(".cell:has(.lm-Widget)")
    assert figures
    for figure in figures:
        menus = visible_menus(figure)
        assert move_sliders(seen.page, figure) + len(menus) > 0, "a widget without a control, say a progress bar"
        for menu in menus:
            move_menu(seen.page, figure, menu, menus)
        others = figure.query_selector_all(".lm-Widget :is(input, textarea, button)")
        assert not [node.evaluate("node => node.outerHTML.slice(0, 200)") for node in others if node.is_visible()]
    assert not seen.troubles, "\n".join(seen.troubles)


@needs_browser
@pytest.mark.parametrize("page", WIDGET_PAGES)
def test_default_frame_without_javascript(browser, address, page):
    """Every interactive figure has a picture for readers without scripts."""
    context = browser.new_context(viewport=PHONE, java_script_enabled=False)
    opened = context.new_page()
    opened.goto(f"{address}/{page}")
    figures = opened.locator(".rmt-explore")
    assert figures.count() > 0
    for figure in figures.all():
        picture = figure.locator("noscript :is(img[alt], svg[aria-label])")
        assert picture.count() == 1, "one picture in each <noscript>"
        box = picture.bounding_box()
        assert box and box["width"] > 100 and box["height"] > 50, f"the picture is not shown: {box}"
    context.close()


# ------------------------------------------------------------------------------------------- files, search, links


@needs_browser
def test_opens_from_a_file(visit):
    """A page with widgets and maths works from an unpacked archive."""
    page = (WIDGET_PAGES or CHAPTERS)[0]
    seen = visit(page, base=HTML.as_uri())
    assert seen.page.locator("mjx-container").count() > 0
    assert seen.page.locator("[role=slider]").count() > 0 or not WIDGET_PAGES
    assert not seen.troubles, "\n".join(seen.troubles)


@needs_browser
@pytest.mark.parametrize("scheme", ["http", "file"])
def test_search_finds_chapters(visit, scheme):
    seen = visit("search.html?q=theorem", base=HTML.as_uri() if scheme == "file" else None)
    seen.page.wait_for_selector("#search-results li a", timeout=10_000)
    assert not seen.troubles, "\n".join(seen.troubles)


@needs_browser
def test_front_page_leads_to_the_book(visit):
    seen = visit("index.html", lands_on="**/chapters/*.html")
    assert seen.page.locator("main h1:visible").count() == 1


class Links(HTMLParser):
    """The ids and the link targets of a page."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.targets = set(), []
        self.feed(path.read_text("utf8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.update(filter(None, (values.get("id"), values.get("name") if tag == "a" else None)))
        self.targets += filter(None, (values.get(name) for name in ("href", "src")))


def test_internal_links_resolve():
    """Every relative link leads to a file, and every fragment to an id."""
    pages = {(HTML / page).resolve(): Links(HTML / page) for page in PAGES}
    assert pages, "the book is not built"
    broken = []
    for path, links in pages.items():
        for target in links.targets:
            address, fragment = urldefrag(target)
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            goal = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(goal)
            if not goal.is_file() or (fragment and known and unquote(fragment) not in known.ids):
                broken.append(f"{path.name}: {target}")
    assert not broken, "\n".join(broken)

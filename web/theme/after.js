// Names for what the theme and ipywidgets leave without one, and keyboard access to boxes that scroll.

const setAttribute = (node, name, value) => {
  if (value && node.getAttribute(name) !== value) node.setAttribute(name, value);
};

// The visible label of a widget; typeset maths counts with its TeX.
function labelText(label) {
  if (!label) return "";
  if (label.title) return label.title.replaceAll("$", "").replaceAll("\\", "").trim();
  const copy = label.cloneNode(true);
  copy.querySelectorAll("mjx-assistive-mml").forEach((node) => node.remove());
  return copy.textContent.trim();
}

function nameWidgets() {
  for (const handle of document.querySelectorAll(".noUi-handle[role=slider]")) {
    const box = handle.closest(".widget-slider");
    setAttribute(handle, "aria-label", handle.dataset.name ||= labelText(box?.querySelector(".widget-label")));
    setAttribute(handle, "aria-valuetext", box?.querySelector(".widget-readout")?.textContent.trim());
  }
}

// The name of a button is what stands on it; icons beside a name are decoration.
function mendTheme() {
  for (const node of document.querySelectorAll(".search-button__button, details > summary")) node.removeAttribute("aria-label");
  for (const node of document.querySelectorAll(".citation-list, .citation-list [role=doc-biblioentry]")) node.removeAttribute("role");
  for (const icon of document.querySelectorAll(".theme-switch-button [title]")) icon.removeAttribute("title");
  for (const icon of document.querySelectorAll("svg.svg-inline--fa")) {
    icon.querySelector("title")?.remove();
    icon.removeAttribute("aria-labelledby");
    setAttribute(icon, "aria-hidden", "true");
  }
}

// Boxes change with the window, with the formulas in them, and when a reader unfolds the code.
const wideBoxes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const wide = target.scrollWidth > target.clientWidth + 1 && getComputedStyle(target).overflowX !== "visible";
    if (wide) target.setAttribute("tabindex", "0");
    else target.removeAttribute("tabindex");
  }
});

// A search from a file cannot fetch the pages it found; their titles have to do.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// Once a frame at most: widgets and formulas arrive in thousands of steps.
let scheduled = false;
function mend() {
  scheduled = false;
  nameWidgets();
  mendTheme();
}
mend();
new MutationObserver(() => {
  if (!scheduled) requestAnimationFrame(mend);
  scheduled = true;
}).observe(document.body, {
  subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ["aria-valuetext"],
});
window.addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  for (const box of document.querySelectorAll("div.math, pre, div.cell_output .output, .pst-scrollable-table-container"))
    wideBoxes.observe(box);
});

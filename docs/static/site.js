"use strict";
// What scrolls sideways can be scrolled with the keyboard too.
function reachable() {
  for (const box of document.querySelectorAll("article pre, article .output.text_html, article .table-wrapper, article .output.text_markdown, article .math-wrapper"))
    if (box.scrollWidth > box.clientWidth + 1) {
      box.tabIndex = 0;
      box.setAttribute("role", "region");
      box.setAttribute("aria-label", box.matches("pre") ? "code or output, scrolls sideways" : "table, scrolls sideways");
    }
}
addEventListener("load", reachable);
addEventListener("resize", reachable);
for (const picture of document.querySelectorAll("article .cell_output img")) if (!picture.alt || picture.alt.includes("_images/")) picture.alt = "figure made by the code above it";
// what a fold says is its name
for (const fold of document.querySelectorAll("summary[aria-label='Toggle hidden content']")) fold.removeAttribute("aria-label");

"""Sphinx's settings for the website; docs/build.py calls it."""
project = "LightVision"
copyright = "2026 onwards, The LightVision authors"
extensions = ["myst_nb"]
html_theme = "furo"
html_title = "LightVision"
html_favicon = "static/icon.svg"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = [("results.js", {"defer": "defer"}), ("site.js", {"defer": "defer"})]
html_copy_source = html_show_sphinx = False
mathjax_path = "mathjax/tex-svg.js"
# MathJax takes what is marked as mathematics, and leaves dollars in outputs alone
mathjax3_config = {"options": {"enableMenu": False}}

nb_execution_mode = "off"
nb_render_markdown_format = "gfm"
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
# a notebook's headings may skip a level
suppress_warnings = ["myst.header"]
pygments_style, pygments_dark_style = "a11y-high-contrast-light", "a11y-high-contrast-dark"


def setup(app):
    "Furo's captions are headings without a level, which a screen reader needs."
    def add_levels(app, page, template, context, doctree):
        tree = context.get("furo_navigation_tree", "")
        context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')
    app.connect("html-page-context", add_levels, priority=900)

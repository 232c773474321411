"""Settings of the site. `make site` puts this file beside the pages that `tools/site_sources.py` has collected."""

import os
import re
import sys
from pathlib import Path

from docutils.nodes import SkipNode
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

sys.path.insert(0, os.environ.get("SITE_ROOT", str(Path(__file__).resolve().parents[2])))

project = "Several tokens"
author = "The authors of this course"
copyright = author
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
templates_path = []
suppress_warnings = [
    "config.cache",
    "myst.header",  # a lesson may go from a title to a small heading
    "ref.python",  # two classes may have an attribute of the same name
]

# The committed notebooks are executed and compared by `make test`; here they are only shown.
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}  # a widget has a picture of itself, and the page asks no other server for scripts
nb_render_markdown_format = "myst"
nb_code_prompt_show = "Show the {type}"
nb_code_prompt_hide = "Hide the {type}"
myst_enable_extensions = ["dollarmath", "tasklist"]
myst_heading_anchors = 5

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": False, "no-value": True}
autodoc_preserve_defaults = True  # `path: Path = FILE`, not where that file lies on the machine that built the site
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar = True  # an attribute is described by its class and not once more on its own
add_module_names = False

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_favicon = "_static/favicon.svg"
html_copy_source = True
html_show_sourcelink = False
html_math_renderer = "mathml"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "home_page_in_toc": True,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": True,
    "use_fullscreen_button": False,
    "toc_title": "On this page",
    "navbar_start": [],
    "navbar_center": [],
    "navbar_end": [],
    "navbar_persistent": [],  # the search field stands in the sidebar already
}
#: Where the course lies, from address.toml. Without it lessons can be downloaded, not launched.
repository = os.environ.get("SITE_REPOSITORY", "")
if repository:
    html_theme_options |= {
        "repository_url": repository,
        "repository_branch": os.environ.get("SITE_BRANCH", "main"),
        "path_to_docs": "",
        "use_repository_button": True,
        "launch_buttons": {
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
            "notebook_interface": "jupyterlab",
        },
    }


#: What the converter does not know, or knows by another name. MathML brackets grow by themselves.
_SPELLINGS = ((re.compile("…"), r"\\ldots "), (re.compile(r"\\[bB]igg?(?![a-zA-Z])"), ""))


def _visit_math(self, node):
    """A formula as MathML: browsers draw it themselves, screen readers read it, and no script is needed."""
    formula = node.astext()
    for known, spelling in _SPELLINGS:
        formula = known.sub(spelling, formula)
    try:
        self.body.append(tex2mathml(formula, as_block=node.tagname == "math_block"))
    except MathError as error:
        logging.getLogger(__name__).warning("the formula %s cannot be drawn: %s", node.astext(), error, location=node)
    raise SkipNode


def _escape_bars(app, what, name, obj, options, lines):
    """In a docstring |h| is a length; reStructuredText would look for a substitution of that name."""
    literal = False
    for n, line in enumerate(lines):
        parts = line.split("``")
        for i, part in enumerate(parts):
            if not literal:
                parts[i] = part.replace("|", r"\|")
            if i < len(parts) - 1:
                literal = not literal
        lines[n] = "``".join(parts)


def setup(app):
    app.add_html_math_renderer("mathml", (_visit_math, None), (_visit_math, None))
    app.connect("autodoc-process-docstring", _escape_bars)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

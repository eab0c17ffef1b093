"""How the documentation is built: `make docs`."""

import re

import conn

project = "conn"
author = "The conn developers"
copyright = "The conn developers"
version = release = conn.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"conn {release}"
html_show_copyright = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_attributes_as_param_list = True


def _absolute_values(app, what, name, obj, options, lines) -> None:
    """Docstrings write |r| for an absolute value; reStructuredText would look for a substitution."""
    lines[:] = [re.sub(r"\|([^|`]+)\|", r"\\|\1\\|", line) for line in lines]


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _absolute_values, priority=900)

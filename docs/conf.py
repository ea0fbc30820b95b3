"""How the documentation is built: ``sphinx-build -W --keep-going -n docs OUT``, offline."""

import sys
from pathlib import Path

import nbclient.client
from traitlets import Bool

sys.path.insert(0, str(Path(__file__).parent))

project = "mmjax"
author = copyright = "the mmjax authors"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "site_api",
    "site_fusions",
    "site_links",
    "site_maths",
]
exclude_patterns = ["_build"]
highlight_language = "none"
# What is not of mmjax has pages elsewhere; what is private, type variables and the parts of a
# report's page have none.
nitpick_ignore_regex = [(r"py:.*", r"(?!mmjax\.).*|.*\.(_\w+|[A-Z]|Line|Grid)")]

html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"special-members": "__call__"}
maximum_signature_line_length = 88
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False
python_use_unqualified_type_names = True

default_role = "code"
html_theme = "furo"
html_title = "mmjax"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sphinx = False


class _Client(nbclient.client.NotebookClient):
    """Joins the pieces in which a command's output comes, where myst-nb would break their lines."""

    coalesce_streams = Bool(True)


nbclient.client.NotebookClient = _Client

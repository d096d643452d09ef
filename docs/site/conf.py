"""Sphinx's configuration of the site that `make site` builds; tools/make_site.py lays the pages out for it."""

project = "stlib"
html_title = "stlib: sentence encoders, with the evidence"
html_theme = "furo"
html_copy_source = False
html_extra_path = ["extra"]
exclude_patterns = ["extra"]
html_show_copyright = False
html_show_sphinx = False

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
nb_execution_mode = "off"  # the lessons are shown as they are stored
myst_enable_extensions = []
myst_heading_anchors = 3
default_role = "code"  # docstrings mark code as Markdown does
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature says them in words where they matter
autodoc_preserve_defaults = True
pygments_style = "friendly"
suppress_warnings = ["mystnb.unknown_mime_type"]

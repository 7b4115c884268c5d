"""Sphinx configuration."""

from importlib.metadata import version

project = "iapo"
author = "The iapo developers"
copyright = "2026, the iapo developers"
release = version("iapo")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
html_theme = "furo"
html_title = "iapo"
exclude_patterns = ["_build"]
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["References"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
# Axis strings of jaxtyping annotations are not types that anything could link to.
autodoc_mock_imports: list[str] = []
nitpicky = False
myst_enable_extensions = ["colon_fence", "dollarmath"]
doctest_global_setup = "import torch"

"""Sphinx configuration."""

import importlib.metadata
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

import iapo

# All is imported here: beartype switches itself off in what autodoc imports first, and the pages show its errors.
assert all(hasattr(iapo, name) for name in iapo.__all__)
project = "iapo"
author = "The iapo developers"
copyright = "2026, the iapo developers"
release = importlib.metadata.version("iapo")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
autodoc_mock_imports = ["trl", "verl", "ray", "tensordict", "transfer_queue", "omegaconf"]
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "iapo"
html_static_path = ["_static"]
html_css_files = ["iapo.css"]
exclude_patterns = ["_build", "benchmarks", "study/embedded*", "study/smollm2*"]
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["References"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
myst_enable_extensions = ["colon_fence", "dollarmath"]
# Examples in docstrings are run by pytest, in their module's namespace; here only the pages' own blocks.
doctest_test_doctest_blocks = ""
# The copy button leaves out prompts, and the output of commands.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def _write_mathml(translator: Any, node: nodes.Element) -> None:
    """A formula that browsers show by themselves, without a script from a network."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    translator.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register the renderer of formulas."""
    app.add_html_math_renderer("mathml", (_write_mathml, None), (_write_mathml, None))

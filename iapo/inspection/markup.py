"""Text as HTML, and the style and the script of a page that loads nothing."""

import base64
import hashlib
from html import escape

from iapo.inspection.glyphs import printable


def escaped(text: str) -> str:
    """Text as HTML in which nothing acts, inside of an attribute too; what is invisible is shown."""
    return escape(printable(text))


def policy_source(text: str) -> str:
    """A style or script as a content security policy names it, which allows it alone: by its hash."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"

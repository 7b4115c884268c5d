"""What one prompt's completions look like, token by token: in the terminal and as a self-contained HTML page.

No model is needed here: `trace_from_rollout` turns a rollout and its information into text and plain numbers,
`render_terminal` and `render_html` show them.
"""

from iapo.inspection.page import render_html
from iapo.inspection.pieces import trace_from_rollout
from iapo.inspection.terminal import render_terminal
from iapo.inspection.trace import CompletionTrace, Inspection, TraceSummary, strongest, summarize

__all__ = [
    "CompletionTrace",
    "Inspection",
    "TraceSummary",
    "render_html",
    "render_terminal",
    "strongest",
    "summarize",
    "trace_from_rollout",
]

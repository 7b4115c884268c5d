"""Traces for the tests: by hand, and drawn with any text and numbers."""

from hypothesis import strategies as st

from iapo.inspection import CompletionTrace, Inspection

LABEL = "H(answer | prefix), nats"

# Characters that an escape could miss, drawn more often than chance would.
ODD = ["<", ">", "&", '"', "'", "</script>", "<!--", "]]>", "\n", "\r", "\t", " ", "\x00", "\x1b[2J", "\x85", "\u2028"]
ODD += [
    "\u202e",
    "\u200b",
    "\ud800",
    "\ufffe",
    "\ufeff",
    "{",
    "}",
    "[bold]",
    "[/]",
    ":smile:",
    "&amp;",
    "é",
    "数",
    "👩‍🔬",
]

texts = st.lists(st.sampled_from(ODD) | st.text(max_size=4), max_size=4).map("".join)
numbers = st.floats(-1e9, 1e9) | st.floats(-2, 2) | st.sampled_from([0.0, -0.0, 1e-300, 0.01, -0.01])


def trace_of(
    pieces: tuple[str, ...],
    information: tuple[float, ...],
    measured: tuple[bool, ...] | None = None,
    prompt: str = "2+3=",
    answer: str = "5",
    label: str = LABEL,
) -> CompletionTrace:
    """A trace whose probes are an entropy that starts at 1 and falls by the information."""
    probes = [1.0]
    for s in information:
        probes.append(probes[-1] - s)
    measured = (True,) * len(pieces) if measured is None else measured
    return CompletionTrace(prompt, pieces, information, tuple(probes), label, measured, 1.0, answer)


@st.composite
def inspections(draw: st.DrawFn) -> Inspection:
    """Up to three completions of any text and numbers, empty ones too."""
    prompt, label = draw(texts), draw(texts)

    def trace() -> CompletionTrace:
        tokens = draw(st.integers(0, 6))

        def row(values: st.SearchStrategy, length: int = tokens) -> tuple:
            return tuple(draw(st.lists(values, min_size=length, max_size=length)))

        return CompletionTrace(
            prompt=prompt,
            pieces=row(texts),
            information=row(numbers),
            probes=row(numbers, tokens + 1),
            probe_label=label,
            measured=row(st.booleans()),
            reward=draw(st.none() | numbers),
            answer=draw(texts),
            policy_entropy=row(numbers) if draw(st.booleans()) else None,
        )

    traces = tuple(trace() for _ in range(draw(st.integers(1, 3))))
    return Inspection(traces, draw(st.dictionaries(texts, texts, max_size=2)))


def luminance(color: str) -> float:
    """Relative luminance as WCAG defines it."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio as WCAG defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)

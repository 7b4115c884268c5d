"""Three sampled texts for a report: a short right one, a wrong one, and the longest."""

from collections.abc import Sequence

from iapo.evaluation import Sample
from iapo.inspection.glyphs import printable

_LONGEST = 1200
"""Characters of a text that are quoted: its beginning and its end."""


def chosen(samples: Sequence[Sample]) -> dict[str, Sample]:
    """The right completion that is shortest, the wrong one of median length, and the longest; each if there is one.

    Greedy completions are left out unless there are no others.
    """
    by_length = sorted(samples, key=lambda s: s.tokens)
    drawn = [s for s in by_length if not s.greedy] or by_length
    right, wrong = [s for s in drawn if s.correct], [s for s in drawn if not s.correct]
    found = {"right, shortest": right[:1], "wrong, of median length": wrong[len(wrong) // 2 :][:1]}
    return {name: each[0] for name, each in (found | {"longest": drawn[-1:]}).items() if each}


def facts(sample: Sample) -> str:
    """What a completion got, in one line.

    Example:
        >>> facts(Sample(0, "1+1=", "3", "2", "3", {"accuracy": 0.0}, 0.0, False, 2, True))
        "wrong · reward 0 (accuracy 0) · 2 tokens · answer read '3', reference '2'"
    """
    by_name = ", ".join(f"{name} {_score(value)}" for name, value in sample.rewards.items())
    parts = ["right" if sample.correct else "wrong", f"reward {_score(sample.reward)} ({by_name})"]
    parts.append(f"{sample.tokens} tokens" + (", cut before it ended" if sample.finished is False else ""))
    if sample.greedy:
        parts.append("greedy")
    if sample.advantage is not None:
        advantage = sample.advantage
        parts.append(f"advantage {advantage['mean']:+.3g} ({advantage['min']:+.3g} to {advantage['max']:+.3g})")
    read = "no answer read" if sample.answer is None else f"answer read {_short(sample.answer)}"
    return " · ".join([*parts, read + ("" if sample.reference is None else f", reference {_short(sample.reference)}")])


def quoted(samples: Sequence[Sample], show: str, when: str = "after training") -> list[str]:
    """The section of a report; empty without samples.

    Args:
        samples: to choose from.
        show: the command that prints all of them.
        when: they were sampled.
    """
    if not samples:
        return []
    lines = [f"## Sampled {when}", "", f"All of them: `{show}`.", ""]
    for name, sample in chosen(samples).items():
        lines += [f"**{name}**: {facts(sample)}", "", *fenced(sample.prompt, sample.completion), ""]
    return lines


def fenced(*texts: str) -> list[str]:
    """Texts in a block of Markdown, whatever is in them, a line between them; of long ones beginning and end.

    Example:
        >>> fenced("1+1=", "2")
        ['```text', '1+1=\\n---\\n2', '```']
    """
    text = "\n---\n".join(printable(_cut(each)) for each in texts)
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}text", text, fence]


def _cut(text: str) -> str:
    half = _LONGEST // 2
    return (
        text if len(text) <= _LONGEST else f"{text[:half]}\n[... {len(text) - 2 * half} characters ...]\n{text[-half:]}"
    )


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _short(value: object) -> str:
    text = printable(str(value)).replace("\n", "↵")
    return repr(text if len(text) <= 60 else f"{text[:28]} … {text[-28:]}")

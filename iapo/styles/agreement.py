"""Checks a style against itself, whether it reads the answers that it asks for, and against what a model writes."""

from collections.abc import Sequence
from dataclasses import replace

from iapo.ops.arguments import arguments_named
from iapo.styles.completion import CompletionStyle
from iapo.styles.detection import Detected, detect_style

ENOUGH_SAMPLES = 4
"""Samples that came to their end, from which on something can be said against a style."""
_FEW, _MOST = 0.25, 0.5
"""A style disagrees with samples of which it reads less than the first share, and another at least the second."""
_REASONING, _ANSWER = "1 + 1 = 2.", "7"


@arguments_named
def misfits(style: CompletionStyle) -> tuple[str, ...]:
    """Which of a style's texts ask for an answer that it would not read: ``asks``, ``ends``, both or none.

    Each is tried with the style's own other text, so that only the one that does not fit is named.

    Example:
        >>> misfits(CompletionStyle(asks="</think>Answer: ")), misfits(CompletionStyle(asks="</think>\\n<answer>"))
        (('asks',), ())
    """
    if not _reads_what_it_asks(replace(style, asks=None, ends=None)):
        return ()  # it reads other answers than the one that is tried
    alone = {"asks": replace(style, ends=None), "ends": replace(style, asks=None)}
    # An empty text is none: nothing is said against an answer that nothing ends.
    return tuple(name for name, tried in alone.items() if getattr(style, name) and not _reads_what_it_asks(tried))


@arguments_named
def better_style(style: CompletionStyle, samples: Sequence[str], prompts: Sequence[str] = ()) -> Detected | None:
    """The style that samples are written in where it is another one; ``None`` where ``style`` does, or none does.

    Args:
        style: that they are read in.
        samples: completions that came to their end.
        prompts: as the policy reads them.
    """
    if len(samples) < ENOUGH_SAMPLES or readable(style, samples) >= _FEW * len(samples):
        return None
    try:
        found = detect_style(samples, prompts)
    except ValueError:
        return None
    return found if found.fitting >= _MOST * found.samples else None


def readable(style: CompletionStyle, samples: Sequence[str]) -> int:
    """How many of the samples have an answer in this style."""
    return sum(style.answer_in(text) is not None for text in samples)


def _reads_what_it_asks(style: CompletionStyle) -> bool:
    read = style.answer_in(_REASONING + style.asked(_ANSWER).text)
    return read is not None and read.strip(" .") == _ANSWER

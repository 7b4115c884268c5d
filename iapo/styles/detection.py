"""Finds the style of a model's completions from a few of them and the prompts that they follow."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from iapo.ops.arguments import arguments_named
from iapo.styles.before_answer import BeforeAnswer
from iapo.styles.boxed import Boxed
from iapo.styles.combined import FirstThatFits
from iapo.styles.completion import CompletionStyle
from iapo.styles.interface import AnswerStyle, Marked, ReasoningStyle
from iapo.styles.json_field import JsonField
from iapo.styles.lines import Hashes, LastLine
from iapo.styles.phrase import Phrase
from iapo.styles.tags import AnswerTags, ReasoningTags

_ENOUGH = 0.25
"""Share of the samples that reason between tags, or mark an answer, from which on it is taken for their way."""
_ENOUGH_LINES = 0.5
"""That of the last line, which is read where fewer mark an answer: early policies often fail to."""
_LONGEST = 200
"""Characters of what may pass for an answer."""
_LONGEST_LINE = 80

_REASONING = ("think", "thinking", "reasoning", "reason", "thought", "thoughts", "cot", "scratchpad", "analysis")
_ANSWERS = ("answer", "final_answer", "ans", "final", "solution", "response", "result", "output")
_SUMMARIES = ("summary",)
_FIELDS = ("answer", "final_answer", "final answer", "finalAnswer")
_OTHER_FIELDS = ("solution", "result", "output")


def _spelled(names: Sequence[str]) -> tuple[str, ...]:
    """Names of tags in small letters, with a capital, with capitals, and in capitals."""
    spelled = (each for name in names for each in (name, name.capitalize(), name.title(), name.upper()))
    return tuple(dict.fromkeys(spelled))


REASONING_TAGS = (
    *(ReasoningTags(f"<{name}>", f"</{name}>") for name in _spelled(_REASONING)),
    ReasoningTags("[THINK]", "[/THINK]"),  # Mistral's
    ReasoningTags("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),  # gpt-oss
    ReasoningTags("<seed:think>", "</seed:think>"),
    ReasoningTags("◁think▷", "◁/think▷"),  # Kimi's
    ReasoningTags("<|begin_of_thought|>", "<|end_of_thought|>"),
    ReasoningTags("<|START_THINKING|>", "<|END_THINKING|>"),  # Cohere's
    ReasoningTags("<|channel>thought\n", "<channel|>"),  # Gemma 4
    ReasoningTags("<unused94>thought\n", "<unused95>"),  # MedGemma
    ReasoningTags("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ReasoningTags("<|thought_start|>", "<|thought_end|>"),
    ReasoningTags("<start_working_out>", "<end_working_out>"),  # Unsloth's
)
_OPENING_TAG = re.compile(r"<([A-Za-z][\w:.-]{0,40})>")
_TAG = re.compile(r"<[^<>\n]{1,60}>")
ANSWER_STYLES: tuple[AnswerStyle, ...] = (
    *(AnswerTags(f"<{name}>", f"</{name}>") for name in _spelled(_ANSWERS)),
    Boxed(),
    AnswerTags("<|begin_of_box|>", "<|end_of_box|>"),  # GLM's
    AnswerTags("<|START_RESPONSE|>", "<|END_RESPONSE|>"),  # Cohere's
    AnswerTags("<|begin_of_solution|>", "<|end_of_solution|>"),
    *(JsonField(name) for name in _spelled(_FIELDS)),
    Hashes(),
    Phrase(),
    *(JsonField(name) for name in _spelled(_OTHER_FIELDS)),  # which other objects have too
    *(AnswerTags(f"<{name}>", f"</{name}>") for name in _spelled(_SUMMARIES)),  # of the reasoning, often
)
"""From the most specific to the most general: a sample counts for the first one that fits it."""


@dataclass(frozen=True)
class Detected:
    """A style and how many of the samples are written in it.

    Args:
        style: what was found.
        fitting: samples with an answer in this style.
        samples: all samples.
    """

    style: CompletionStyle
    fitting: int
    samples: int


@arguments_named
def detect_style(
    samples: Sequence[str],
    prompts: Sequence[str] = (),
    answer: AnswerStyle | None = None,
    reasoning: ReasoningStyle | None = None,
) -> Detected:
    """The style that fits most samples.

    Reasoning: between tags if the prompts end with an opening tag, as chat templates of Qwen3 and DeepSeek-R1 write it,
    or if a quarter of the samples close one; else, and where the prompts end with a closing tag, all before the answer.
    Answer: each sample counts for the most specific style that fits it, and the style with the most samples is taken,
    be they few: a weak policy often fails to answer. Where they are less than a quarter of all, too few to be sure, the
    other styles are read too; but if half of the samples end with a short line, it is the last line.

    Args:
        samples: completions without their end-of-sequence tokens; best such that have come to their end.
        prompts: as the policy reads them.
        answer: the answer style, if it is known.
        reasoning: the reasoning style, if it is known.

    Raises:
        ValueError: no samples, or none of the styles fits any of them.

    Example:
        >>> found = detect_style(["2+2=4\\n#### 4", "I do not know", "1+1=2\\n#### 2"])
        >>> found.style.postfix, found.fitting
        ('\\n#### ', 2)
    """
    if not samples:
        raise ValueError("samples: got none, want at least one completion")
    if reasoning is None:
        reasoning = _reasoning_of(samples, prompts)
    reasoned = [reasoning.find(text) for text in samples]
    behind = [text[each.behind :] for text, each in zip(samples, reasoned, strict=True)]
    if answer is None:
        answer, marked = _answer_of(behind, [each.stop is not None for each in reasoned])
    else:
        marked = [_plausible(text, answer.find(text)) for text in behind]
    style = _as_written(CompletionStyle(reasoning, answer), samples)
    return Detected(style, sum(each is not None for each in marked), len(samples))


def _reasoning_of(samples: Sequence[str], prompts: Sequence[str]) -> ReasoningStyle:
    for tags in REASONING_TAGS:
        if prompts and all(prompt.rstrip().endswith(tags.opening.rstrip()) for prompt in prompts):
            return replace(tags, opened_by_prompt=True)
        if prompts and all(prompt.rstrip().endswith(tags.closing) for prompt in prompts):
            return BeforeAnswer()
    others = _other_tags(samples, prompts)
    closed = Counter(tags for text in samples for tags in (*REASONING_TAGS, *others) if tags.closing in text)
    most = max(closed.values(), default=0)
    if most < _ENOUGH * len(samples) or not most:
        return BeforeAnswer()
    return next(tags for tags in (*REASONING_TAGS, *others) if closed[tags] == most)


def _other_tags(samples: Sequence[str], prompts: Sequence[str]) -> list[ReasoningTags]:
    """Tags of other names that the prompts end with, or that samples begin with, and in which they reason."""
    ends = (found for prompt in prompts if (found := re.search(rf"{_OPENING_TAG.pattern}\s*$", prompt)))
    begins = (found for text in samples if (found := _OPENING_TAG.match(text.lstrip())))
    opened = {found[1]: False for found in begins} | {found[1]: True for found in ends}
    known = {name.lower() for name in (*_REASONING, *_ANSWERS, *_SUMMARIES)}
    names = [name for name in opened if name.lower() not in known]
    tags = [ReasoningTags(f"<{name}>", f"</{name}>", opened_by_prompt=opened[name]) for name in names]
    closed = {each: [_reasons_in(each, text) for text in samples if each.closing in text] for each in tags}
    return [each for each in tags if 2 * sum(closed[each]) > len(closed[each])]


def _reasons_in(tags: ReasoningTags, text: str) -> bool:
    """Whether tags are around most of a text, once, and something follows: others are of a page, or of a turn."""
    inside, _, behind = text.partition(tags.closing)
    said = _TAG.sub("", behind).strip()
    return bool(said) and tags.closing not in behind and len(inside) >= len(said)


def _answer_of(texts: Sequence[str], ended: Sequence[bool]) -> tuple[AnswerStyle, list[Marked | None]]:
    """The answer style of texts behind their reasoning, which has ``ended`` or not, and the answers by it."""
    found = [
        {style: marked for style in ANSWER_STYLES if (marked := _plausible(text, style.find(text)))} for text in texts
    ]
    counts = Counter(next(iter(each)) for each in found if each)
    most = max(counts.values(), default=0)
    lines = [_last_line(text, alone) for text, alone in zip(texts, ended, strict=True)]
    if most < _ENOUGH * len(texts) and sum(line is not None for line in lines) >= _ENOUGH_LINES * len(texts):
        return LastLine(), lines
    if most:
        chosen = next(style for style in ANSWER_STYLES if counts[style] == most)
        if most >= _ENOUGH * len(texts):
            return chosen, [each.get(chosen) for each in found]
        others = tuple(style for style in ANSWER_STYLES if style != chosen and not isinstance(style, AnswerTags))
        both = FirstThatFits((chosen, AnswerTags(), *others) if chosen != AnswerTags() else (chosen, *others))
        return both, [_plausible(text, both.find(text)) for text in texts]
    raise ValueError(
        f"answer_style: auto finds no answers in {len(texts)} samples of the model (tags, a box, a JSON field, ####, a "
        "phrase such as 'The answer is', a short last line), the first of which is "
        f"{texts[0][-_LONGEST:]!r}; ask for a format with --system_prompt or --prompt_template, let completions end "
        "(--sampler.max_new_tokens), or say --answer_style tags, boxed, hashes, phrase, json or last_line"
    )


def _plausible(text: str, marked: Marked | None) -> Marked | None:
    """The answer if it has characters, and not too many; behind ``####`` words that text follows are a heading.

    One that nothing announces and no words stand in front of is a last line, and of no other style.
    """
    if marked is None or not (
        marked.announced or isinstance(marked.style, LastLine) or re.search(r"\w", text[marked.opening : marked.start])
    ):
        return None
    answer = text[marked.start : marked.stop].strip()
    is_heading = isinstance(marked.style, Hashes) and text[marked.closing :].strip() and any(map(str.isalpha, answer))
    return marked if 0 < len(answer) <= _LONGEST and not is_heading else None


def _last_line(text: str, alone: bool) -> Marked | None:
    """The last line if it is short, and more than a tag or what ends a formula or code.

    It must be one of several, unless it may stand alone: behind reasoning that has ended.
    """
    marked = LastLine().find(text)
    if marked is None or not (alone or text[: marked.opening].strip()):
        return None
    line = text[marked.start : marked.stop]
    says = re.search(r"\w", re.sub(r"<[^<>]*>|\\end\{\w+\*?\}", "", line)) is not None
    return marked if says and len(line) <= _LONGEST_LINE else None


def _as_written(style: CompletionStyle, samples: Sequence[str]) -> CompletionStyle:
    """The style with the spellings that most samples with an answer have: phrase, quotes, white space between."""
    readings = [(text, style.read(text)) for text in samples]
    found = [(text, reasoning.stop, marked) for text, (reasoning, marked) in readings if _plausible(text, marked)]
    opening = _most(text[marked.opening : marked.start] for text, _, marked in found if marked)
    closing = _most(text[marked.stop :][:1] for text, _, marked in found if marked)
    answer = style.answer
    if isinstance(answer, Phrase) and opening is not None:
        stars = opening[len(opening.rstrip("*")) :]  # of bold type, which the answer's end closes
        answer = Phrase(opening, stars if stars and opening.count(stars) % 2 else "." if closing == "." else "\n")
    if isinstance(answer, JsonField) and opening is not None:
        answer = replace(answer, quoted=opening.endswith('"'))
    ending = style.reasoning.ending
    if isinstance(style.reasoning, BeforeAnswer):
        before = [text[: marked.opening] for text, _, marked in found if marked]
        ending = _most(text[len(text.rstrip()) :] for text in before) or ending
        return CompletionStyle(BeforeAnswer(ending), answer)
    between = _most(
        _white(text[stop + len(ending) : marked.opening])
        for text, stop, marked in found
        if marked and text.startswith(ending, stop)
    )
    return CompletionStyle(style.reasoning, answer, between or "")


def _white(text: str) -> str:
    """The white space that a text begins with."""
    return text[: len(text) - len(text.lstrip())]


def _most(texts: Iterable[str]) -> str | None:
    """The text that at least half of them are, if there is one."""
    texts = list(texts)
    found = Counter(texts).most_common(1)
    return found[0][0] if found and 2 * found[0][1] >= len(texts) else None

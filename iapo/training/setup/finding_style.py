"""The style of completions that is not known: found in the policy's own first samples, and told."""

import dataclasses
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, TypeVar

import torch

from iapo.interfaces import Sampler
from iapo.ops.random_state import fork_rng
from iapo.rollout.ends import ended, eos_ids_of
from iapo.styles import USUAL_STYLE, AnswerStyle, CompletionStyle, FirstThatFits, better_style, detect_style, misfits
from iapo.styles.agreement import ENOUGH_SAMPLES, readable
from iapo.tasks import Task
from iapo.tokenization.decoding import decode_completions
from iapo.training.configuration.styles import ANSWERS, REASONINGS, StyleSource
from iapo.types import Rollout

_SAMPLES, _FEW = 16, 4
"""Samples that show a style, and those of them that come first."""
_LONGEST = 80
"""Characters of an answer that are quoted."""

See = Callable[[Rollout, CompletionStyle], None]
T = TypeVar("T")


def choose_style(
    source: StyleSource,
    task: Task,
    sampler: Sampler,
    tokenizer: Any,
    prompts: Sequence[str],
    device: torch.device | str,
    see: See | None = None,
) -> CompletionStyle:
    """The style, found in a few samples where it is not known; what was found is told on standard error.

    A few of the samples come first, to be seen soon. The global random generators are afterwards as they were before.

    Args:
        source: what is said of it.
        task: where the problems come from; it may know the style.
        sampler: of the policy.
        tokenizer: of the policy.
        prompts: as the policy reads them; of more than are sampled the first.
        device: the policy's.
        see: is called with the samples so far, their group ids those of `first_of` the prompts, and with the style
            as far as it is known; the first few are then sampled even if the style is known.

    Raises:
        ValueError: no style fits the samples that came to their end; the message says what to do. Where hardly any
            did, the usual style is taken.

    Warns:
        UserWarning: postfix or closing contradict the style, or the style contradicts the samples.
    """
    known, prompts = source.known(task), first_of(prompts)
    if known is None:
        parts = zip(("--answer_style", "--reasoning_style"), source.said(), strict=True)
        flags = [flag for flag, said in parts if said is None]
        named = f"{' and '.join(flags)} {'name' if flags[1:] else 'names'} it"
        print(f"style: looked for in {len(prompts)} samples ({named})", file=sys.stderr)
    elif see is None:
        _warn_of_texts(source, known)
        return known

    def shown(rollout: Rollout) -> _Shown:
        found = _what_is_shown(source, rollout, tokenizer, eos_ids, prompts)
        if see is not None:
            see(rollout, known or found.style)
        return found

    eos_ids = eos_ids_of(sampler, tokenizer)
    with fork_rng(torch.device(device)):
        rollout = sampler(prompts[:_FEW], 1)
        if see is not None:
            shown(rollout)
        if known is not None:
            _warn_of_texts(source, known)
            return known
        rest = sampler(prompts[_FEW:], 1)
        rollout = Rollout.cat([rollout, dataclasses.replace(rest, group_ids=rest.group_ids + _FEW)])
        found = shown(rollout)
        if source.said()[0] is None and len(found.whole) >= ENOUGH_SAMPLES and not readable(found.style, found.whole):
            count = len(found.whole)
            print(f"style: none of {count} that came to their end answers, so in as many more", file=sys.stderr)
            found = shown(Rollout.cat([rollout, sampler(prompts, 1)]))
    if found.refusal is not None:
        raise found.refusal
    style = found.style
    print(
        f"style: {found.told.format(_name(style.answer))}; an answer is asked for with {style.postfix!r} and "
        f"ended with {style.closing!r} (--answer_style, --reasoning_style, --postfix and --closing say otherwise)",
        file=sys.stderr,
    )
    _warn_of_texts(source, style, found.whole)
    warn_of_style(style, found.whole, prompts)
    return style


@dataclass(frozen=True)
class _Shown:
    """What samples show.

    Args:
        style: the best that is known of it.
        told: how many show it, for one line; the name of the style stands in for ``{}``.
        whole: the texts of those that came to their end.
        refusal: why it cannot be taken.
    """

    style: CompletionStyle
    told: str
    whole: list[str]
    refusal: ValueError | None = None


def _what_is_shown(
    source: StyleSource, rollout: Rollout, tokenizer: Any, eos_ids: Any, prompts: Sequence[str]
) -> _Shown:
    answer, reasoning = source.said()
    texts = decode_completions(tokenizer, rollout, eos_ids)
    whole = [text for text, done in zip(texts, ended(rollout, eos_ids).tolist(), strict=True) if done]
    refusal = None
    try:
        found = detect_style(whole or texts, prompts, answer, reasoning)
        style, told = found.style, f"{found.fitting} of {found.samples} samples answer by {{}}"
    except ValueError as error:
        refusal = error if len(whole) >= ENOUGH_SAMPLES else None
        style = CompletionStyle(reasoning or USUAL_STYLE.reasoning, answer or USUAL_STYLE.answer)
        cut = len(texts) - len(whole)
        told = f"{cut} of {len(texts)} samples are cut before they answer (--sampler.max_new_tokens), {{}} is taken"
    return _Shown(style.replaced(source.postfix, source.closing), told, whole, refusal)


def first_of(items: Sequence[T]) -> list[T]:
    """The prompts, or what belongs to them, that are sampled to show a style; of few some come several times."""
    return list(islice(cycle(items[:_SAMPLES]), _SAMPLES))


def warn_of_style(style: CompletionStyle, samples: Sequence[str], prompts: Sequence[str] = ()) -> None:
    """Warn if samples are written in another style than they are read in, and name the flags that help.

    Args:
        style: that they are read in.
        samples: completions that came to their end.
        prompts: as the policy reads them.
    """
    found = better_style(style, samples, prompts)
    if found is None:
        return
    flags = " ".join(
        f"--{flag} {next((name for name, each in table.items() if each == part), repr(part))}"
        for flag, table, part in (
            ("answer_style", ANSWERS, found.style.answer),
            ("reasoning_style", REASONINGS, found.style.reasoning),
        )
    )
    warnings.warn(
        f"answer_style: {readable(style, samples)} of {len(samples)} samples that came to their end answer as the run "
        f"reads them ({type(style.reasoning).__name__}, {_name(style.answer)}), {found.fitting} do by "
        f"{type(found.style.reasoning).__name__} and {_name(found.style.answer)}: take {flags}, or ask for the "
        "other form with --system_prompt or --prompt_template",
        stacklevel=2,
    )


def _warn_of_texts(source: StyleSource, style: CompletionStyle, samples: Sequence[str] = ()) -> None:
    """Warn of a postfix or closing, given by the user, that asks for answers which the style does not read."""
    own = dataclasses.replace(style, asks=None, ends=None)
    found = ((text, style.read(text).marked) for text in samples)
    written = next((f", as in {text[m.opening : m.closing][:_LONGEST]!r}" for text, m in found if m), "")
    for name in misfits(style):
        flag, text, kept = {
            "asks": ("postfix", style.asks, own.postfix),
            "ends": ("closing", style.ends, own.closing),
        }[name]
        if getattr(source, flag) is not None:
            warnings.warn(
                f"{flag}: {text!r} contradicts how completions answer ({_name(style.answer)}{written}): an "
                f"answer that is asked for so is not read as one, and is not what the model writes. Leave --{flag} "
                f"out, which takes {kept!r}, or name the style that it belongs to with --answer_style and "
                "--reasoning_style",
                stacklevel=3,
            )


def _name(answer: AnswerStyle) -> str:
    """What an answer style is called; one made of several by the first, which asks."""
    first = answer
    while isinstance(first, FirstThatFits):
        first = first.styles[0]
    return type(first).__name__ + (", or else in another way" if isinstance(answer, FirstThatFits) else "")

"""Completions as a reader sees them: the text beside what it was scored by, a JSON object a line."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from iapo.ops.arguments import arguments_named
from iapo.ops.text_files import read_bytes
from iapo.rewards.scores import Scores
from iapo.rollout.ends import ended_if_known
from iapo.styles import CompletionStyle
from iapo.tokenization.decoding import decode_completions
from iapo.types import Rollout


@dataclass(frozen=True)
class Sample:
    """One completion with all that it was scored by.

    Args:
        problem: index of the problem among those that were sampled together.
        prompt: what the policy read.
        completion: what it wrote, without the end of sequence; what the rewards read.
        reference: the reference answer of the problem; ``None``: it has none.
        answer: the final answer as the style of completions finds it; ``None``: it finds none.
        rewards: each function's score, unweighted, by its name; ``None``: it could not score the completion.
        reward: their sum; ``None`` where one of them could not score it.
        correct: whether the first reward says that it is right.
        tokens: its length, end of sequence included.
        finished: whether it came to its end before the limit; ``None``: not known.
        greedy: whether it is the likeliest completion, not one that was drawn.
        advantage: in training, the mean, smallest and largest advantage of its tokens.
    """

    problem: int
    prompt: str
    completion: str
    reference: Any
    answer: str | None
    rewards: Mapping[str, float | None]
    reward: float | None
    correct: bool
    tokens: int
    finished: bool | None
    greedy: bool = False
    advantage: Mapping[str, float] | None = None


_KINDS = {
    **dict.fromkeys(("prompt", "completion"), (str, "a text")),
    **dict.fromkeys(("problem", "tokens"), (int, "a whole number")),
    **dict.fromkeys(("correct", "greedy"), (bool, "true or false")),
    "rewards": (dict, "an object"),
    "reward": (float | int | None, "a number or null"),
    "advantage": (dict | None, "an object or null"),
}
"""What fields that are shown must be in a file, and how an error says so."""
_ADVANTAGE = ("mean", "min", "max")


@arguments_named
def samples_of(
    rollout: Rollout,
    rows: Sequence[Mapping[str, Any]],
    scores: Scores,
    tokenizer: Any,
    eos_ids: Collection[int],
    style: CompletionStyle,
    greedy: bool = False,
) -> list[Sample]:
    """The completions of a rollout, in its order.

    Args:
        rollout: its group ids are indices of ``rows``.
        rows: the problems.
        scores: one for each completion.
        tokenizer: decodes them.
        eos_ids: tokens that end a completion; none: whether one is finished is not known unless the rollout says it.
        style: finds the answer.
        greedy: whether these are the likeliest completions.
    """
    texts = decode_completions(tokenizer, rollout, eos_ids)
    known = ended_if_known(rollout, eos_ids)
    finished = [None] * len(rollout) if known is None else known.tolist()
    correct, lengths = scores.correct.tolist(), rollout.completion_lengths.tolist()
    groups, totals, scored = rollout.group_ids.tolist(), scores.total.tolist(), scores.scored.tolist()
    return [
        Sample(
            problem=group,
            prompt=str(rows[group]["prompt"]),
            completion=texts[index],
            reference=rows[group].get("answer"),
            answer=style.answer_in(texts[index]),
            rewards={name: values[index] for name, values in scores.by_function.items()},
            reward=totals[index] if scored[index] else None,
            correct=correct[index],
            tokens=lengths[index],
            finished=finished[index],
            greedy=greedy,
        )
        for index, group in enumerate(groups)
    ]


@arguments_named
def lines_of(samples: Iterable[Sample], **context: Any) -> str:
    """Samples as JSON, one a line; ``context`` stands first in each."""
    named = ({**context, **asdict(sample)} for sample in samples)
    return "".join(json.dumps(each, ensure_ascii=False, default=str) + "\n" for each in named)


@arguments_named
def samples_beside(numbers: Path) -> Path:
    """The file of the samples of an evaluation, beside the file of its numbers.

    It ends in ``.jsonl`` where that one ends in ``.json``; any other name gets ``.jsonl`` behind it, so that the files
    of ``eval-0.5`` and ``eval-0.25`` are two.
    """
    return numbers.with_suffix(".jsonl") if numbers.suffix == ".json" else numbers.with_name(f"{numbers.name}.jsonl")


@arguments_named
def read_samples(path: Path) -> list[tuple[dict[str, Any], Sample]]:
    """What `lines_of` wrote, each with its context; a last line that a crash cut off is left out.

    Raises:
        ValueError: another line holds no sample; it is named, and what is wrong with it.
    """
    names = {field.name for field in fields(Sample)}
    found: list[tuple[dict[str, Any], Sample]] = []
    # Lines end with \n alone: a text may have other ends of lines in it, which JSON leaves as they are.
    *whole, last = read_bytes(path).decode("utf-8-sig", "replace").split("\n")
    lines = [*whole, last] if _is_object(last) else whole
    for number, line in enumerate(lines, 1):
        try:
            content = json.loads(line)
            context = {name: value for name, value in content.items() if name not in names}
            sample = Sample(**{name: value for name, value in content.items() if name in names})
            _check_kinds(sample)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            if not found and _is_object(line) and "completion" not in json.loads(line):
                raise ValueError(f"{path}: holds something else than samples of iapo, such as {line[:40]!r}") from error
            raise ValueError(
                f"{path}: line {number} is no sample ({line[:40]!r}: {error}); want a line of iapo, remove this one"
            ) from error
        found.append((context, sample))
    return found


def _is_object(line: str) -> bool:
    """Whether a line is complete, although no end of line stands behind it."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _check_kinds(sample: Sample) -> None:
    """Raise ``TypeError`` for a field that is something else than it is in a `Sample`."""
    for name, (kind, wanted) in _KINDS.items():
        if not isinstance(getattr(sample, name), kind):
            raise TypeError(f"{name} is {getattr(sample, name)!r:.40}, want {wanted}")
    advantage = {} if sample.advantage is None else {name: sample.advantage.get(name) for name in _ADVANTAGE}
    for name, value in advantage.items():
        if not isinstance(value, float | int):
            raise TypeError(f"advantage has {value!r:.40} for {name}, want a number")
    for name, score in sample.rewards.items():
        if not isinstance(score, float | int | None):
            raise TypeError(f"rewards has {score!r:.40} for {name}, want a number or null")

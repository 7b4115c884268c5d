"""Measures of a model on the embedded task: accuracy, length, and how accuracy goes with shortcuts and filler."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from iapo.embedded.labels import TokenClass, classify, parse_answer
from iapo.embedded.reasoning import shortest_length
from iapo.embedded.symbols import AGAIN, CHECK, split_symbols
from iapo.embedded.task import Problem

_TERSE = {TokenClass.NEEDED, TokenClass.SLIP, TokenClass.FORMAT, TokenClass.ANSWER}

_LONGEST = 160
"""Tokens at which a completion is cut."""


def sample(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    seed: int | None,
    batch: int = 250,
) -> list[str]:
    """Sample one completion of each problem, at temperature 1 or greedily; torch's random state stays as it is.

    Args:
        model: the embedded model or one trained from it, on the CPU.
        tokenizer: of the model; must pad on the left.
        problems: the problems.
        seed: of the sampling; `None` takes the likeliest token every time.
        batch: problems sampled together.

    Returns:
        The completions, up to and with the end-of-sequence token (absent if cut).
    """
    style: dict[str, Any] = {"do_sample": False}
    if seed is not None:
        style = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    generate = cast(Any, model).generate
    completions = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        for start in range(0, len(problems), batch):
            prompts = [problem.prompt for problem in problems[start : start + batch]]
            inputs = tokenizer(prompts, add_special_tokens=False, padding=True, return_tensors="pt")
            with torch.no_grad():
                ids = generate(**inputs, max_new_tokens=_LONGEST, **style)
            texts = tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=False)
            completions += [text.replace(str(tokenizer.pad_token), "") for text in texts]
    return completions


def measure(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, problems: Sequence[Problem], seed: int
) -> dict[str, Any]:
    """Measure one sampled completion of each problem, and the greedy one.

    Args:
        model: the embedded model or one trained from it, on the CPU.
        tokenizer: of the model.
        problems: the problems; at least one.
        seed: of the sampling.

    Returns:
        Accuracies between 0 and 1, lengths in tokens (end of sequence included), and counts. An accuracy over no
        completions is absent. `accuracy_terse` is over the completions that have single steps and nothing else. `slips`
        counts wrong results, `caught` those that a check or repetition right after them put right.

    Raises:
        ValueError: if there are no problems.
    """
    if not problems:
        raise ValueError("problems: got none, wanted at least one")
    completions = sample(model, tokenizer, problems, seed)
    greedy = sample(model, tokenizer, problems, None)
    labels = [classify(p.prompt, c) for p, c in zip(problems, completions, strict=True)]
    right = [parse_answer(c) == p.answer for p, c in zip(problems, completions, strict=True)]
    lengths = [float(len(each)) for each in labels]
    shortest = _mean([float(shortest_length(p, tokenizer)) for p in problems])
    groups: dict[str, list[float]] = {}
    for problem, each, correct in zip(problems, labels, right, strict=True):
        counts = Counter(each)
        shortcut, filler = counts[TokenClass.SHORTCUT] > 0, counts[TokenClass.FILLER]
        habit = "accuracy_with_shortcut" if shortcut else "accuracy_without_shortcut"
        words = "0-4" if filler < 5 else "5-9" if filler < 10 else "10+"
        for name in (habit, f"accuracy_{words}_fillers", f"accuracy_difficulty_{problem.difficulty}"):
            groups.setdefault(name, []).append(correct)
        if set(each) <= _TERSE:
            groups.setdefault("accuracy_terse", []).append(correct)
    total = Counter(label for each in labels for label in each)
    slips, caught = _slips(completions, labels)
    return {
        "problems": len(problems),
        "accuracy": _mean(right),
        "greedy_accuracy": _mean([parse_answer(c) == p.answer for p, c in zip(problems, greedy, strict=True)]),
        "length": _mean(lengths),
        "greedy_length": _mean([float(len(split_symbols(completion))) for completion in greedy]),
        "shortest_length": shortest,
        "length_ratio": _mean(lengths) / shortest,
        **{name: _mean(values) for name, values in sorted(groups.items())},
        "slips": slips,
        "caught": caught,
        "shares": {str(kind): count / total.total() for kind, count in sorted(total.items())},
    }


def _slips(completions: Sequence[str], labels: Sequence[Sequence[TokenClass]]) -> tuple[int, int]:
    """Count wrong results, and the checks that put one right."""
    slips = caught = 0
    for completion, own in zip(completions, labels, strict=True):
        pieces = split_symbols(completion)
        for before, piece, label in zip(["", *pieces], pieces, own, strict=False):
            slips += label is TokenClass.SLIP and before == "="
            caught += label is TokenClass.CATCH and piece in (CHECK, AGAIN)
    return slips, caught


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

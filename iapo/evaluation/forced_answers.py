"""Answers that are asked for before the reasoning has ended."""

import dataclasses
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from iapo.evaluation.budgets import BudgetCurve, default_budgets, with_zero
from iapo.evaluation.scoring import Rows, Scoring
from iapo.interfaces import Sampler
from iapo.ops.arguments import arguments_named
from iapo.ops.checks import check_integer, check_integers, check_kinds
from iapo.ops.random_state import fork_rng
from iapo.rollout.collation import collate
from iapo.rollout.ends import eos_ids_of, style_of
from iapo.rollout.language_model import LanguageModelSampler
from iapo.tokenization.continuation import continuation_ids
from iapo.tokenization.decoding import pieces_of_rows
from iapo.types import Rollout

_AT_ONCE = 1024
"""Prefixes in one call of the sampler, unless the caller says how many."""


@dataclass(frozen=True)
class ForcedAnswers:
    """How reasoning is cut at a budget and the answer is asked for.

    Args:
        postfix: text that closes the reasoning and opens the answer: that of a task's answer style, with which
            estimators ask.
        closing: text that ends the answer; empty for answers that only the end of the sequence ends. Where it stands
            in the answer (``3.14``, ``\\frac{1}{2}`` in a box), the sampler's style says where the answer ends.
        budgets: reasoning tokens at which completions are cut; 0 is always one of them. ``None``: `default_budgets` of
            the completions' own reasoning.
        answer_tokens: tokens of a forced answer, the closing included; what is not closed by then is closed there.
        samples: how many completions of each problem are cut, the first ones; ``None``: all.

    Raises:
        ValueError: no postfix, so that nothing asks for the answer; a negative budget; ``answer_tokens`` or ``samples``
            below 1.
    """

    postfix: str
    closing: str
    budgets: tuple[int, ...] | None = None
    answer_tokens: int = 32
    samples: int | None = None

    def __post_init__(self) -> None:
        check_kinds(self)
        if not self.postfix:
            raise ValueError(
                "postfix: got an empty text, so that nothing asks for an answer where reasoning is cut; want the text "
                "that closes the reasoning and opens the answer, or an empty list of budgets"
            )
        if self.budgets is not None:
            check_integers("budgets", tuple(self.budgets), least=0, or_empty=True)
            object.__setattr__(self, "budgets", with_zero(self.budgets))
        check_integer("answer_tokens", self.answer_tokens)
        check_integer("samples", self.samples, or_none=True)


@arguments_named
def accuracy_at_budgets(
    forced: ForcedAnswers,
    rollout: Rollout,
    correct: Bool[Tensor, "problem sample"],
    rows: Rows,
    scoring: Scoring,
    sampler: Sampler,
    batch: int | None = None,
) -> BudgetCurve:
    """Cut the reasoning of completions at each budget, ask for the answer there, and score it.

    Of a completion whose reasoning is longer than the budget, everything up to its first so many reasoning tokens
    stays (also a tag that opens the reasoning). Behind it come the postfix, an answer that the sampler continues with,
    and the closing. A completion whose reasoning is no longer than the budget stays as it is, right or wrong; so above
    the longest reasoning the accuracy is the ordinary one.

    Torch's random state is afterwards as it was before, and the same at each budget: the answers at one do not depend
    on which others there are.

    Args:
        forced: the budgets and the texts.
        rollout: the completions, those of a problem one after the other; group ids are indices of ``rows``.
        correct: whether they are right as they are.
        rows: the problems.
        scoring: says whether answers are right.
        sampler: continues prefixes, which it gets as token ids; one of `iapo.rollout.LanguageModelSampler` stops
            after ``answer_tokens``, what another one samples beyond them is not read.
        batch: prefixes in one call of the sampler; ``None``: 1024. It changes which random numbers an answer gets.

    Raises:
        ValueError: a postfix of which the tokenizer makes no token.
    """
    reasoning = rollout.reasoning_mask.sum(1)
    budgets = default_budgets(reasoning) if forced.budgets is None else forced.budgets
    problems, samples = correct.shape
    first = torch.arange(samples, device=reasoning.device).repeat(problems) < (forced.samples or samples)
    correct, rollout, reasoning = correct[:, : forced.samples], rollout.select(first.nonzero()[:, 0]), reasoning[first]
    ask, step = _Ask(forced, sampler, scoring.tokenizer), batch or _AT_ONCE
    found = []
    for budget in budgets:
        right = correct.flatten().clone()
        longer = (reasoning > budget).nonzero().flatten()
        with fork_rng(rollout.completion_ids.device):
            for start in range(0, len(longer), step):
                part = longer[start : start + step]
                right[part.cpu()] = scoring.correct(ask(rollout.select(part), budget), rows)
        found.append(right.view(correct.shape))
    return BudgetCurve(budgets, torch.stack(found, -1))


class _Ask:
    """Cuts completions and has a sampler answer; its postfix and closing in the tokens of the policy."""

    def __init__(self, forced: ForcedAnswers, sampler: Sampler, tokenizer: Any) -> None:
        self.limit, self.closing, self.tokenizer = forced.answer_tokens, forced.closing, tokenizer
        self.postfix_ids = list(continuation_ids(tokenizer, forced.postfix))
        self.closing_ids = list(continuation_ids(tokenizer, forced.closing)) if forced.closing else []
        if not self.postfix_ids:
            raise ValueError(f"postfix: the tokenizer makes no token of {forced.postfix!r}")
        self.eos_ids = eos_ids_of(sampler, tokenizer)
        self.style = style_of(sampler).replaced(forced.postfix, forced.closing)
        # A closing of the user's own that the style does not read ends the answer wherever it stands.
        self.is_read = self._is_whole("7" + self.closing, 1 + len(self.closing))
        self.sampler = sampler
        if isinstance(sampler, LanguageModelSampler):
            self.sampler = dataclasses.replace(sampler, max_new_tokens=self.limit)

    def __call__(self, rollout: Rollout, budget: int) -> Rollout:
        """Completions that all reason longer than ``budget``, cut there and answered."""
        prompts = [ids[mask].tolist() for ids, mask in zip(rollout.prompt_ids, rollout.prompt_mask, strict=True)]
        cuts = (rollout.reasoning_mask.cumsum(1) <= budget).sum(1).tolist()
        asked = [ids[:cut] + self.postfix_ids for ids, cut in zip(rollout.completion_ids.tolist(), cuts, strict=True)]
        sampled = self.sampler([prompt + ids for prompt, ids in zip(prompts, asked, strict=True)], 1)
        order = sampled.group_ids.argsort().tolist()
        ids, lengths = sampled.completion_ids.tolist(), sampled.completion_lengths.tolist()
        continued = [ids[row][: min(lengths[row], self.limit)] for row in order]
        pieces = pieces_of_rows(self.tokenizer, continued)
        unread = [0] * len(order) if sampled.unread is None else sampled.unread[order].tolist()
        answers = [self._closed(*each) for each in zip(continued, pieces, unread, strict=True)]
        return collate(
            prompts,
            [ids + answer for ids, answer in zip(asked, answers, strict=True)],
            rollout.group_ids.tolist(),
            pad_id=0,
            tokenizer=None,
            finished=[True] * len(asked),
        )

    def _closed(self, ids: list[int], pieces: Sequence[str], unread: int) -> list[int]:
        """An answer up to and with its closing, which is put where the sequence or the answer's tokens ended.

        Tokens of a stop text (``unread`` characters at the end) are left out.
        """
        ids = ids[: next((position for position, token in enumerate(ids) if token in self.eos_ids), len(ids))]
        if unread:
            ends = list(accumulate(map(len, pieces)))
            ids = ids[: bisect_right(ends, ends[-1] - unread)]
        if not self.closing:
            return ids
        texts = pieces[: len(ids)]
        end = self._end("".join(texts))
        if end is None:
            return ids + self.closing_ids
        return ids[: bisect_left(list(accumulate(map(len, texts))), end) + 1]

    def _end(self, text: str) -> int | None:
        """The characters of what was sampled up to the first closing behind an answer, ``None`` if there is none."""
        at = text.find(self.closing)
        while at >= 0 and self.is_read and not self._is_whole(text, at + len(self.closing)):
            at = text.find(self.closing, at + 1)
        return None if at < 0 else at + len(self.closing)

    def _is_whole(self, text: str, end: int) -> bool:
        """Whether the style reads an answer behind the postfix up to here, and no longer one with the next sign."""
        found, longer = (self.style.read(self.style.postfix + text[:stop]).answer for stop in (end, end + 1))
        return found is not None and found == longer

"""The contract of estimators of mutual information with the policy's answer, on models small enough to enumerate."""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor

from iapo.interfaces import MIEstimator
from iapo.rollout import collate
from iapo.testing.checks import Check, for_all, run_checks, seeded
from iapo.testing.tabular import TabularLanguageModel, enumerate_completions
from iapo.types import Rollout

Ids = tuple[int, ...]
AnswerOf = Callable[[Ids], Hashable | None]
"""Reads the answer out of a whole completion; ``None``: there is none."""
Make = Callable[[AnswerOf, int, int], MIEstimator]
"""Makes the estimator of a way to read answers, an end-of-sequence id, and the tokens at which completions are cut."""

EOS, PROMPT = 0, (1, 0)

READERS: Mapping[str, AnswerOf] = {
    "whole": lambda ids: ids,
    "last": lambda ids: ids[-1],
    "last two": lambda ids: ids[-2:],
    "sum": lambda ids: sum(ids) % 3,
    "length": len,
}
"""Ways to read an answer."""


@dataclass(frozen=True)
class World:
    """An enumerable policy, and how its answer is read.

    Args:
        model: the policy.
        limit: tokens at which its completions are cut.
        reader: name of one of `READERS`.
        completions: all completions of the prompt, with their probabilities.
    """

    model: TabularLanguageModel
    limit: int
    reader: str
    completions: Sequence[tuple[Ids, float]]

    @property
    def answer_of(self) -> AnswerOf:
        """Reads the answer."""
        return READERS[self.reader]


@st.composite
def worlds(draw: st.DrawFn, max_limit: int = 4, orders: Sequence[int | None] = (0, 1, 2, None)) -> World:
    """Random tables over two or three tokens that remember the last ``orders`` tokens (``None``: all), and a reader."""
    model = TabularLanguageModel(
        vocab_size=draw(st.integers(2, 3)),
        order=draw(st.sampled_from(orders)),
        seed=draw(st.integers(0, 2**20)),
        scale=draw(st.sampled_from([0.5, 1.0, 2.0])),
    )
    limit = draw(st.integers(1, max_limit))
    return World(model, limit, draw(st.sampled_from(sorted(READERS))), enumerate_completions(model, PROMPT, EOS, limit))


def check_information(make: Make, **options: Any) -> dict[str, bool]:
    """Run every check of `InformationContract`.

    Args:
        make: from a way to read answers, an end-of-sequence id and a maximum of new tokens to an estimator of the
            information about the policy's own answer.
        options: fields of `InformationContract`.

    Raises:
        AssertionError: the estimator does not have a property; the message names it, the prefix and the difference.

    Example:
        >>> from iapo.estimators import ExactInformation
        >>> sorted(check_information(ExactInformation, examples=3))
        ['chain_rule', 'data_processing', 'expectation', 'ignored_tokens', 'non_negative']
    """
    return run_checks(make, InformationContract(**options).checks())


@dataclass(frozen=True)
class InformationContract:
    """The properties of information about the policy's own answer, in expectation over the policy.

    Args:
        examples: models tried, a check.
        tolerance: nats; of an estimator that samples, what its noise explains.
        max_limit: tokens at which completions are cut, at most.
    """

    examples: int = 20
    tolerance: float = 1e-10
    max_limit: int = 4

    def checks(self) -> tuple[Check, ...]:
        """All of them."""
        return (
            Check("expectation", self.expectation),
            Check("non_negative", self.non_negative),
            Check("chain_rule", self.chain_rule),
            Check("data_processing", self.data_processing),
            Check("ignored_tokens", self.ignored_tokens),
        )

    def expectation(self, make: Make) -> None:
        """After every prefix, ``E[s_t] = I(y; o_t | q, o_<t)``."""

        def holds(world: World) -> None:
            for prefix, found in self._expected(make, world, world.answer_of).items():
                want = conditional_information(world.completions, prefix, world.answer_of)
                self._assert(abs(found - want) <= self.tolerance, world, prefix, f"E[s] = {found:.6g}, want {want:.6g}")

        self._for_all(holds)

    def non_negative(self, make: Make) -> None:
        """After every prefix, ``E[s_t] >= 0``."""

        def holds(world: World) -> None:
            for prefix, found in self._expected(make, world, world.answer_of).items():
                self._assert(found >= -self.tolerance, world, prefix, f"E[s] = {found:.6g}, want at least 0")

        self._for_all(holds)

    def chain_rule(self, make: Make) -> None:
        """All tokens' information adds up to the answer's entropy: ``E[sum_t s_t] = I(y; o | q) = H(y | q)``."""

        def holds(world: World) -> None:
            information = self._information(make, world, world.answer_of)
            chances = torch.tensor([p for _, p in world.completions], dtype=torch.float64)
            found = float((chances * information.double().sum(1)).sum())
            want = entropy_after(world.completions, (), world.answer_of)
            close = abs(found - want) <= self.tolerance * world.limit
            self._assert(close, world, (), f"E[sum of s] = {found:.6g}, want H(y) = {want:.6g}")

        self._for_all(holds)

    def data_processing(self, make: Make) -> None:
        """Merging answers never raises the expected information of a token."""

        def holds(world: World) -> None:
            def merged(ids: Ids) -> int:
                return hash(world.answer_of(ids)) % 2

            fine, coarse = (self._expected(make, world, reader) for reader in (world.answer_of, merged))
            for prefix, found in coarse.items():
                kept = found <= fine[prefix] + 2 * self.tolerance
                self._assert(kept, world, prefix, f"merged {found:.6g}, more than {fine[prefix]:.6g}")

        self._for_all(holds)

    def ignored_tokens(self, make: Make) -> None:
        """Where tokens are independent and the last one is the answer, the others have information 0, each time."""

        def holds(seed: int, limit: int) -> None:
            model = TabularLanguageModel(vocab_size=3, order=0, seed=seed)
            with torch.no_grad():
                model.table[:, EOS] = -torch.inf
            found = enumerate_completions(model, PROMPT, EOS, limit)
            world = World(model, limit, "last", [(ids, p) for ids, p in found if p > 0])
            information = self._information(make, world, world.answer_of)[:, : limit - 1]
            worst = float(information.abs().max())
            self._assert(worst <= 2 * self.tolerance, world, (), f"{worst:.6g} nats for a token that is ignored")

        for_all(self.examples, holds, st.integers(0, 2**20), st.integers(2, self.max_limit))

    def _for_all(self, holds: Callable[[World], None]) -> None:
        for_all(self.examples, holds, worlds(self.max_limit))

    def _expected(self, make: Make, world: World, answer_of: AnswerOf) -> Mapping[Ids, float]:
        return expected_information(world.completions, self._information(make, world, answer_of))

    def _information(self, make: Make, world: World, answer_of: AnswerOf) -> Float[Tensor, "batch token"]:
        with seeded():
            return make(answer_of, EOS, world.limit)(world.model, rollout_of([ids for ids, _ in world.completions]))

    def _assert(self, holds: bool, world: World, prefix: Ids, message: str) -> None:
        if not holds:
            raise AssertionError(
                f"{message}, after {prefix} (answer: {world.reader}, {len(world.model.table[0])} tokens, cut at "
                f"{world.limit}, tolerance {self.tolerance:g})"
            )


def rollout_of(completions: Sequence[Ids]) -> Rollout:
    """Completions of the prompt, every token of them reasoning."""
    count = len(completions)
    rollout = collate([PROMPT] * count, completions, [0] * count, EOS, tokenizer=None)
    return dataclasses.replace(rollout, reasoning_mask=rollout.completion_mask)


def expected_information(
    completions: Sequence[tuple[Ids, float]], information: Float[Tensor, "batch token"]
) -> dict[Ids, float]:
    """``E[s_t | prefix]`` over the policy, for every prefix that goes on.

    Args:
        completions: all of them, with their probabilities.
        information: of their tokens, one row each.
    """
    sums: defaultdict[Ids, float] = defaultdict(float)
    masses: defaultdict[Ids, float] = defaultdict(float)
    for (ids, p), row in zip(completions, information.tolist(), strict=True):
        for t in range(len(ids)):
            sums[ids[:t]] += p * row[t]
            masses[ids[:t]] += p
    return {prefix: sums[prefix] / masses[prefix] for prefix in sums if masses[prefix] > 0}


def conditional_information(completions: Sequence[tuple[Ids, float]], prefix: Ids, answer_of: AnswerOf) -> float:
    """``I(y; o_t | prefix)``, nats, by its definition."""
    t = len(prefix)
    inside = [(ids[t], answer_of(ids), p) for ids, p in completions if ids[:t] == prefix and len(ids) > t]
    total = sum(p for _, _, p in inside)
    joint: defaultdict[tuple[int, Hashable], float] = defaultdict(float)
    tokens: defaultdict[int, float] = defaultdict(float)
    answers: defaultdict[Hashable, float] = defaultdict(float)
    for token, answer, p in inside:
        joint[token, answer] += p / total
        tokens[token] += p / total
        answers[answer] += p / total
    return sum(p * math.log(p / (tokens[token] * answers[y])) for (token, y), p in joint.items() if p > 0)


def entropy_after(completions: Sequence[tuple[Ids, float]], prefix: Ids, answer_of: AnswerOf) -> float:
    """``H(y | prefix)``, nats, by its definition."""
    masses: defaultdict[Hashable, float] = defaultdict(float)
    for ids, p in completions:
        if ids[: len(prefix)] == prefix:
            masses[answer_of(ids)] += p
    total = sum(masses.values())
    return -sum(p / total * math.log(p / total) for p in masses.values() if p > 0)

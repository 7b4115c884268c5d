"""Pay the chunk in which the answer is first there, charge those behind it (DECS)."""

import dataclasses
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from iapo.advantages.group_relative import GroupRelative
from iapo.advantages.parameters import check_weights
from iapo.advantages.steps import Ids, steps_by
from iapo.advantages.sufficient.curve import curve_of, describe_prefix
from iapo.advantages.sufficient.rule import PrefixRule
from iapo.advantages.wrapping import add_term
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_choice, check_integer, check_integers, check_kinds, check_number
from iapo.ops.steps import Steps
from iapo.ops.sufficient_prefix import Anchor, check_threshold, is_there, sufficient_prefix
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class FirstCorrectChunk(PrefixRule):
    """DECS: ``A_t = outcome + delta_t`` in correct completions, where the reasoning is cut into chunks and ::

        delta_t = first                                the chunk in which the right answer is first there
                = before                               a chunk before it
                = -behind * (1 - decay * x_t)          a chunk behind it, x_t from 0 at its first token to 1 at its last

    Probe the reference answer. The method samples few easy prompts besides, which is not part of an advantage.

    *Departures.* DECS finds the chunk by a small language model that reads each of them; here the curve says after
    which the answer can be given. Its chunks are paragraphs; ``after_ids`` says where those end. The released
    scripts set all three weights to 0.001, weigh a chunk's first token more than the others, and leave ``decay`` out of
    what they run (``decay=0``): the formula is the default, the weights of 0.1 are ours.

    *Degenerate cases.* Where the right answer is never there, and in completions that were not measured, delta is 0.
    Where it is there before the first token, all chunks are behind. A chunk of one token has ``x_t = 0``.

    Args:
        outcome: assigns the outcome's part; its loss mask is kept.
        first: weight of the chunk in which the answer is first there.
        before: weight of those before it.
        behind: weight of those behind it.
        decay: share by which the charge is less at a chunk's last token.
        step: tokens of a chunk, at least 1; with ``after_ids`` at most.
        threshold: probability at which the answer is there.
        anchor: the chunk where the answer is ``"first"`` there, as in the paper, or from which on it ``"stays"``, which
            is ours: a policy that is stopped early may give the right answer by chance, and lose it a moment later.
        after_ids: ids of the tokens behind which a chunk ends, such as a newline; none: after ``step`` tokens.

    Raises:
        ValueError: a number that is not finite, a negative weight, a ``decay`` outside [0, 1], a ``step`` below 1, a
            threshold outside (0, 1], an unknown ``anchor``, ``after_ids`` below 0.

    Example:
        >>> from iapo import TokenSignals
        >>> mask, values = torch.ones(2, 3, dtype=torch.bool), torch.tensor([[-4.0, -3.0, -0.1, -0.1]]).expand(2, -1)
        >>> rule = FirstCorrectChunk(step=1)
        >>> rule(torch.ones(2), torch.tensor([0, 0]), mask, TokenSignals(prefix_values=values)).advantages[0]
        tensor([ 0.1000,  0.1000, -0.1000])

    References:
        "Overthinking Reduction with Decoupled Rewards and Curriculum Data Scheduling", arXiv 2509.25827 (DECS), the
        reward of a token, and the code released with it.
    """

    outcome: AdvantageAssigner = field(default_factory=GroupRelative)
    first: float = 0.1
    before: float = 0.1
    behind: float = 0.1
    decay: float = 0.5
    step: int = 8
    threshold: float = 0.5
    anchor: Anchor = "first"
    after_ids: Ids = ()

    def __post_init__(self) -> None:
        check_kinds(self)
        check_weights(first=self.first, before=self.before, behind=self.behind)
        check_integer("step", self.step)
        check_integers("after_ids", self.after_ids, least=0, or_empty=True)
        check_threshold(self.threshold)
        check_choice("anchor", self.anchor, Anchor)
        check_number("decay", self.decay, "a number from 0 to 1", lambda x: 0 <= x <= 1)

    def applies(self, inputs: AdvantageInputs) -> Bool[Tensor, " batch"]:
        """The correct completions."""
        return inputs.correct

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages plus the chunks' part."""
        curve = curve_of(inputs)
        prefix = sufficient_prefix(is_there(curve.values, curve.measured, self.threshold), curve.measured)
        steps = steps_by(inputs, curve.mask, self.step, self.after_ids)
        length, found = prefix.at(self.anchor)
        reached_in = reached_step(length, found, steps)
        there = (found & self.applies(inputs))[:, None]
        begins, size = steps.spread(steps.begins), steps.spread(steps.ends - steps.begins)
        position = (torch.arange(curve.mask.shape[1], device=begins.device) - begins).to(inputs.rewards.dtype)
        charge = self.behind * (1 - self.decay * position / (size - 1).clamp(min=1))
        index = steps.index
        delta = torch.where(index < reached_in, self.before, torch.where(index == reached_in, self.first, -charge))
        output = add_term(self.assign_outcome(inputs), "chunks", delta.masked_fill(~(there & curve.mask), 0))
        return dataclasses.replace(output, metrics=output.metrics | describe_prefix(prefix, curve))


def reached_step(
    length: Int[Tensor, " batch"], found: Bool[Tensor, " batch"], steps: Steps
) -> Int[Tensor, "batch one"]:
    """The index of the step in which the first ``length`` tokens end, -1 where they end before any step.

    Args:
        length: tokens of the sufficient prefix.
        found: where there is one; elsewhere the result has no meaning.
        steps: of the completions.
    """
    before = steps.real & (steps.begins < length[:, None]) & found[:, None]
    return before.sum(1, keepdim=True) - 1

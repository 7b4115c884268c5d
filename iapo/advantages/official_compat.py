"""The advantage that the IAPO authors' released code computes, including its faults, for comparison."""

import functools
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.advantages.group_relative import GroupRelative
from iapo.advantages.parameters import check_weights
from iapo.advantages.wrapping import WrappingAssigner
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_kinds
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class OfficialCompat(WrappingAssigner):
    """``A_t = outcome + alpha * n(x_t) - beta * sign(r) * n(h_t)`` with ``n(v) = u / |u|, u = v - mean(v) / std(v)``.

    It differs from the paper (`InformationAware.paper`) as the released code does:

    - ``x_t = (H_t + H_{t-1}) / 2 - H_{t+1}`` replaces ``s_t = H_t - H_{t+1}``, so that half of a token's information is
      credited to the token after it as well: ``x_t = s_t + s_{t-1} / 2``.
    - The mean is divided by the standard deviation before it is subtracted; the row ``u`` is divided by its L2 norm.
    - Mean, standard deviation and norm include the padding, where information and entropy are 0, so that advantages
      depend on the width of the batch.
    - ``h_t``, the policy's entropy, replaces the token's probability, and a completion of reward 0 does not get that
      term.

    One difference remains, at the ends. The released code probes all tokens of a completion and takes ``H`` as 0 beyond
    them, which cannot be computed from ``s_t``, the only thing that an assigner is given. Here the information before
    the first token and outside the measured span is 0. So ``x_t`` is larger by ``H_0 / 2`` at the first token, smaller
    by ``H_L`` at the last one (where ``H_L`` is beyond the end), and 0 at tokens that were not measured. All other
    ``x_t`` are equal; their ``n(x_t)`` differ, as ``n`` normalizes over the whole row. The root mean square of the
    difference of ``n(x_t)``, relative to that of the released term, is 0.23 on the embedded model (entropy of forced
    answers, correlation 0.97) where all tokens of the completion were measured, 0.46 (0.90) where the reasoning was;
    0.35, 0.26 and 0.25 where ``H`` falls in a line from 1 to 0 over 10, 100 and 1000 tokens. For the smaller ones
    measure all tokens: a rollout whose ``reasoning_mask`` is its ``completion_mask``. The standard deviation divides by
    the count minus one. The output's ``terms`` are those of `InformationAware`.

    *Degenerate cases.* Where all values of a row are equal, ``mean / std`` counts as 0; a row of zeros stays zero.
    ``alpha = beta = 0`` is the outcome's advantage, bitwise. The batch's order does not matter, its width does.

    Args:
        alpha: weight of the information term.
        beta: weight of the entropy term.
        outcome: assigns the outcome's part; its loss mask is kept.

    Raises:
        ValueError: a weight that is negative or not finite.

    Example:
        >>> sorted(OfficialCompat(alpha=1e-2, beta=1e-4).requires)
        ['information', 'policy_entropy']

    References:
        IAPO, arXiv 2602.19049, the code released with it.
    """

    alpha: float
    beta: float
    outcome: AdvantageAssigner = field(default_factory=GroupRelative)

    def __post_init__(self) -> None:
        check_kinds(self)
        check_weights(alpha=self.alpha, beta=self.beta)

    @property
    def requires(self) -> frozenset[str]:
        """The outcome's signals, those of terms with a weight, and no others."""
        own = {"information": self.alpha, "policy_entropy": self.beta}
        return self.outcome.requires | {name for name, weight in own.items() if weight}

    def wants_information(self, inputs: AdvantageInputs) -> Bool[Tensor, " batch"]:
        """All completions: correct or wrong, each gets an information term."""
        return torch.ones_like(inputs.rewards, dtype=torch.bool)

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages plus the released code's two terms."""
        output, signals, completion_mask = self.assign_outcome(inputs), inputs.signals, inputs.completion_mask
        dtype, terms = output.advantages.dtype, {"outcome": output.advantages}
        if self.alpha:
            assert signals.information is not None
            mask = inputs.read_at("information")
            information = signals.information.to(dtype).masked_fill(~mask, 0)
            before = torch.nn.functional.pad(information, (1, 0))[:, :-1]
            signal = (information + before / 2).masked_fill(~mask, 0)
            terms["information"] = self.alpha * released_normalization(signal)
        if self.beta:
            assert signals.policy_entropy is not None
            entropy = signals.policy_entropy.to(dtype).masked_fill(~completion_mask, 0)
            terms["exploration"] = -self.beta * inputs.rewards.sign()[:, None] * released_normalization(entropy)
        terms = {name: term.masked_fill(~output.loss_mask, 0) for name, term in terms.items()}
        return AdvantageOutput(
            functools.reduce(torch.add, terms.values()), output.loss_mask, dict(output.metrics), terms
        )


def released_normalization(values: Float[Tensor, "batch token"]) -> Float[Tensor, "batch token"]:
    """``u / |u|`` with ``u = v - mean(v) / std(v)`` over each row, padding included; see `OfficialCompat`."""
    if not values.numel():
        return values
    spread = values.amax(1, keepdim=True) > values.amin(1, keepdim=True)
    std = values.std(1, correction=min(1, values.shape[1] - 1), keepdim=True)
    offset = values.mean(1, keepdim=True) / torch.where(spread, std, 1)
    shifted = values - torch.where(spread, offset, 0)
    norm = shifted.norm(dim=1, keepdim=True)
    return shifted / torch.where(norm > 0, norm, 1)

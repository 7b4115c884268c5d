"""From completions and rewards to token advantages: what the reference loop and the engines of others share."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from iapo.interfaces import AdvantageAssigner, MIEstimator
from iapo.ops.groups import Groups
from iapo.training.distributed.processes import SINGLE, Processes
from iapo.training.distributed.ranks import ALONE, Alone, Ranks
from iapo.training.signals import measure
from iapo.types import OF_COMPLETIONS, AdvantageInputs, AdvantageOutput, Rollout, TokenSignals


@dataclass(frozen=True, eq=False)
class Assigned:
    """What `assign` returns; tensors have the rows and the width of the rollout.

    Args:
        kept: the completions that advantages were assigned to. The others have none and are outside of the loss mask.
        probed: the completions whose information was estimated; ``kept`` ones.
        signals: what the assigner required.
        output: advantages, loss mask and metrics. Metrics are of the rows of all processes.
        metrics: how many completions of all processes were left out, and for which reason.
    """

    kept: Bool[Tensor, " batch"]
    probed: Bool[Tensor, " batch"]
    signals: TokenSignals
    output: AdvantageOutput
    metrics: dict[str, float]

    def select(self, rows: Int[Tensor, " rows"], width: int) -> "Assigned":
        """What was assigned to the completions in ``rows``, cut to ``width`` tokens.

        Args:
            rows: indices of completions.
            width: that of the rollout of these rows; beyond it there is only padding.
        """
        signals = {
            name: values[:, : width + (name == "prefix_values")] if name not in OF_COMPLETIONS else values
            for name, values in vars(self.signals.select(rows)).items()
            if values is not None
        }
        return Assigned(
            self.kept[rows],
            self.probed[rows],
            TokenSignals(**signals),
            self.output.changed(lambda each: each[rows, :width], self.output.loss_mask[rows, :width]),
            self.metrics,
        )


def assign(
    model: nn.Module,
    rollout: Rollout,
    rewards: Float[Tensor, " batch"],
    correct: Bool[Tensor, " batch"],
    assigner: AdvantageAssigner,
    estimator: MIEstimator,
    temperature: float,
    micro_batch: int,
    known: Mapping[str, Tensor] | None = None,
    written: Bool[Tensor, "batch token"] | None = None,
    ranks: Ranks = ALONE,
    processes: Processes = SINGLE,
) -> Assigned:
    """The token advantages of completions, and the signals behind them.

    A completion without a reward (NaN) is left out of its group, so that it does not move the group's baseline. One
    that is then alone in its group has no baseline and is left out too. The estimator is asked only about completions
    that the assigner reads the information of.

    Args:
        model: the policy that sampled.
        rollout: the completions of this process.
        rewards: of each of them; NaN for one that could not be scored.
        correct: those that are correct.
        assigner: with its weights at this moment of training.
        estimator: asked if the assigner requires it.
        temperature: that of sampling.
        micro_batch: completions in one forward.
        known: signals for which nothing has to be measured, by name.
        written: the tokens that the policy wrote and that may enter the loss; ``None``: those of the completion mask.
        ranks: the processes that share the batch, each with rows of its own. All of them call this function together.
        processes: or those that all have the whole batch and divide the forwards.

    Raises:
        ValueError: the assigner's `wants_information` returned another shape or dtype, or the estimator's `with_groups`
            no rollout.
    """
    written, known = rollout.completion_mask if written is None else written, known or {}
    gathered = {name: ranks.gather(values) for name, values in known.items()}
    inputs = AdvantageInputs(
        ranks.gather(rewards),
        ranks.gather(correct),
        ranks.gather(rollout.group_ids),
        ranks.gather(written),
        TokenSignals(**gathered),
    )
    scored = ~inputs.rewards.isnan()
    sole = without_baseline(scored, inputs.group_ids)
    kept = scored & ~sole
    rows, count = kept.nonzero().flatten(), len(rollout)
    probed, mine = torch.zeros_like(kept), ranks.own(kept, count)
    if len(rows):
        probed[rows] = asked(assigner, inputs.select(rows))
        if assigner.requires_estimate:
            grouped = estimator.with_groups(gather_rollout(rollout, ranks).select(rows))
            if not isinstance(grouped, Rollout):
                raise ValueError(
                    f"{type(estimator).__name__}.with_groups: want a Rollout, got {type(grouped).__name__}"
                )
            rollout = dataclasses.replace(rollout, candidates=grouped.candidates)
    signals = measure(
        model, rollout, mine, ranks.own(probed, count), assigner, estimator, temperature, micro_batch, known, processes
    )
    measured = {
        name: gathered[name] if name in gathered else ranks.gather(values)
        for name, values in vars(signals).items()
        if values is not None
    }
    complete = dataclasses.replace(inputs, signals=TokenSignals(**measured)).select(rows)
    if len(rows):
        output = assigner(**vars(complete))
    else:
        output = AdvantageOutput(
            torch.zeros_like(complete.completion_mask, dtype=rewards.dtype), complete.completion_mask, {}
        )

    def back(values: Tensor) -> Tensor:
        """To all rows, of which this process takes its own."""
        everywhere = torch.zeros(len(kept), values.shape[1], dtype=values.dtype, device=values.device)
        everywhere[rows] = values
        return ranks.own(everywhere, count)[:, : written.shape[1]]

    return Assigned(
        kept=mine,
        probed=ranks.own(probed, count),
        signals=signals,
        output=output.changed(back, back(output.loss_mask)),
        metrics={
            "iapo/completions/unscored": float((~scored).sum()),
            "iapo/completions/without_baseline": float(sole.sum()),
        },
    )


def gather_rollout(rollout: Rollout, ranks: Ranks) -> Rollout:
    """The completions of all processes."""
    if isinstance(ranks, Alone):
        return rollout
    tensors = {name: value for name, value in vars(rollout).items() if isinstance(value, Tensor)}
    # Prompts are padded on the left.
    turned = {name: value.flip(1) if name.startswith("prompt") else value for name, value in tensors.items()}
    wide = {name: ranks.gather(value) for name, value in turned.items()}
    fields: dict[str, Any] = {
        name: value.flip(1) if name.startswith("prompt") else value for name, value in wide.items()
    }
    return Rollout(**fields)


def asked(assigner: AdvantageAssigner, inputs: AdvantageInputs) -> Bool[Tensor, " batch"]:
    """The completions whose information an assigner reads, checked."""
    wanted = assigner.wants_information(inputs)
    if not isinstance(wanted, Tensor):
        raise ValueError(f"{type(assigner).__name__}.wants_information: want a tensor, got {type(wanted).__name__}")
    if wanted.dtype != torch.bool or wanted.shape != inputs.rewards.shape:
        raise ValueError(
            f"{type(assigner).__name__}.wants_information: want bool of shape (batch,) = "
            f"{tuple(inputs.rewards.shape)}, got {wanted.dtype} of shape {tuple(wanted.shape)}"
        )
    return wanted


def without_baseline(scored: Bool[Tensor, " batch"], group_ids: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
    """Scored completions of groups in which no other completion could be scored. A group of one is not among them.

    Example:
        >>> without_baseline(torch.tensor([True, False, True, True, True]), torch.tensor([0, 0, 1, 1, 2])).tolist()
        [True, False, False, False, False]
    """
    groups = Groups.of(group_ids)
    return scored & ((groups.sum(scored.long()) == 1) & (groups.size > 1))[groups.of_row]

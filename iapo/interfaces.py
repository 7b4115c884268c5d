"""The five interfaces and the reward protocol, on one page.

Each abstract class owns one concrete ``__call__`` whose annotations are checked at every call (jaxtyping and beartype:
shapes, dtypes, and that sizes agree between arguments), which delegates to one abstract hook. A subclass implements the
hook; it inherits the checks of what goes in and of what comes out, annotated or not. Where a call has many arguments,
the hook gets them as one record (`iapo.AdvantageInputs`, `iapo.LossInputs`).

Data flows one way::

    prompts -> Sampler -> Rollout -> Reward -> rewards [batch]
                             |                    |
                             +-> MIEstimator -> information [batch token] (nats)
                                                  |
                          AdvantageAssigner(rewards, group_ids, signals) -> advantages, loss_mask [batch token]
                                                  |
               policy logprobs -> PolicyLoss -> scalar, metrics -> PolicyOptimizer (accumulate, clip, schedule, step)
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence, Set
from dataclasses import fields
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from iapo.ops.checks import (
    check_beside,
    check_finite,
    check_integer,
    check_one_device,
    check_returned,
    unchanged,
)
from iapo.ops.correct import correct_by
from iapo.ops.hooks import Hooked
from iapo.ops.masked import beside
from iapo.ops.precision import widened
from iapo.ops.shapes import shape_checked
from iapo.types import (
    ESTIMATED,
    OF_COMPLETIONS,
    AdvantageInputs,
    AdvantageOutput,
    LossInputs,
    LossOutput,
    Rollout,
    StepStats,
    TokenSignals,
)

Prompts = Sequence[str] | Sequence[Sequence[int]]
"""Prompts as text, or as token ids."""

FINISHED = "completion_finished"
"""What rewards are given where it is known: whether each completion came to its end, and was not cut at a limit."""

REWARD_ARGUMENTS = frozenset({"self", "prompts", "completions", "completion_ids", FINISHED})
"""What every reward is given: itself, and what is the policy's. A column of the data never takes one of these names."""

TRL_ARGUMENTS = frozenset({"log_extra", "log_metric", "trainer_state"})
"""What TRL gives to rewards beside that. No column of the data takes one of these names either."""

PROMPT_MESSAGES = "prompt_messages"
"""The column of the messages of a prompt that is a conversation; ``prompt`` is the text that they are rendered to."""


class Reward(Protocol):
    """Scores completions. The signature is TRL's, so a reward function written for one works in the other."""

    def __call__(
        self, prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **columns: Any
    ) -> list[float | None]:
        """One number per completion; ``None`` for a completion that this function cannot score."""
        ...


class Sampler(Hooked, ABC):
    """Samples ``group_size`` completions for each prompt."""

    temperature: float = 1.0
    """What logits are divided by when it samples: the policy's log-probabilities are taken at the same."""

    @shape_checked
    def __call__(self, prompts: Prompts, group_size: int) -> Rollout:
        """Sample completions.

        Args:
            prompts: texts or token-id sequences, at least one, none empty.
            group_size: completions per prompt, at least 1.

        Returns:
            ``len(prompts) * group_size`` completions; ``group_ids[i]`` is the index of the prompt of row ``i``.

        Raises:
            TypeError: one text in place of several, or the hook returned no `Rollout`.
            ValueError: no prompts, an empty prompt, ``group_size`` below 1, or a hook that changed the prompts, or
                returned another number of completions or wrong groups: ids that are no indices of prompts, or two
                prompts in one group.
        """
        check_integer("group_size", group_size)
        if isinstance(prompts, str):
            raise TypeError(f"prompts: got the text {prompts!r:.80}, want a list of prompts")
        if len(prompts) == 0:
            raise ValueError("prompts: got none, want at least one")
        empty = [index for index, prompt in enumerate(prompts) if len(prompt) == 0]
        if empty:
            raise ValueError(f"prompts: the prompt at index {empty[0]} is empty")
        kept = list(prompts)
        rollout = self.sample(prompts, group_size)
        check_returned(self, "sample", rollout, Rollout)
        if list(prompts) != kept:
            raise ValueError(f"{type(self).__name__}.sample: changed prompts, want what it is given left as it is")
        ids = rollout.group_ids
        if bool((ids < 0).any()):
            raise ValueError(
                f"{type(self).__name__}.sample: want group_ids from 0 to {len(prompts) - 1}, the indices of the "
                f"prompts, got {int(ids.min())}"
            )
        counts = torch.bincount(ids, minlength=len(prompts)).tolist()
        if counts != [group_size] * len(prompts):
            raise ValueError(
                f"{type(self).__name__}.sample: want {group_size} completions for each of {len(prompts)} prompts, "
                f"group_ids count {counts}"
            )
        order = ids.argsort(stable=True)
        asked = rollout.prompt_ids.masked_fill(~rollout.prompt_mask, -1)[order].unflatten(0, (len(prompts), group_size))
        mixed = (asked != asked[:, :1]).flatten(1).any(1).nonzero().flatten().tolist()
        if mixed:
            raise ValueError(
                f"{type(self).__name__}.sample: the completions of group {mixed[0]} have several prompts, want one; "
                "group_ids are the index of each row's prompt"
            )
        return rollout

    @abstractmethod
    def sample(self, prompts: Prompts, group_size: int) -> Rollout:
        """Hook: the completions; arguments are those of the call, checked."""


class MIEstimator(Hooked, ABC):
    """Estimates how much each completion token says about the answer: ``I(y; o_t | q, o_<t)`` in nats.

    The hook `probe` gives a value ``V_t`` after each prefix of the completion. `information_sign` says what it is: what
    is known about the answer (a log-likelihood), or what is still unknown (an entropy). The information of a token is
    the signed difference of the probes at its two sides, so a completion's information telescopes:
    ``sum_t s_t = +-(V_L - V_0)``.
    """

    information_sign: int = 1
    """+1 if a larger probe means that more is known (a log-likelihood), -1 if less is known (an entropy)."""

    temperature: float | None = None
    """What the policy's logits are divided by where it is asked: the sampler's. ``None``: it does not ask that way."""

    measures: bool = True
    """Whether it measures anything; ``False``: the information of every token is 0."""

    reads_answer: bool = True
    """Whether the answers of a rollout, or the texts that ask for them, change what it measures."""

    @property
    def takes_reference(self) -> bool:
        """Whether it measures what is known of one answer, which may be the reference, not how sure any answer is."""
        return self.reads_answer

    @property
    def probe_label(self) -> str:
        """What a probe is, and its unit, for the axis of a plot."""
        return f"{'log p' if self.information_sign > 0 else 'H'}(answer | prefix), nats"

    @shape_checked
    def __call__(self, model: nn.Module, rollout: Rollout) -> Float[Tensor, "batch token"]:
        """Information of each completion token, nats; 0 outside ``rollout.reasoning_mask``.

        Args:
            model: a causal language model with the call signature of ``transformers``; may be wrapped (DDP, FSDP).
            rollout: the completions to be read.

        Raises:
            TypeError, ValueError, FloatingPointError: as `prefix_values` raises them.
        """
        return information_between(self.prefix_values(model, rollout), rollout.reasoning_mask)

    @shape_checked
    def prefix_values(self, model: nn.Module, rollout: Rollout) -> Float[Tensor, "batch probe"]:
        """What is known about the answer after each prefix: the signed probes, whose differences are the information.

        One call of the hook gives both: the information is `information_between` of these values.

        Args:
            model: a causal language model with the call signature of ``transformers``; may be wrapped (DDP, FSDP).
            rollout: the completions to be read.

        Returns:
            Nats, ``information_sign`` times the probe, so that it grows with what is known; entry ``t`` has seen ``t``
            tokens, ``probe = token + 1``. 0 at prefixes that are not beside a token of ``rollout.reasoning_mask``.

        Raises:
            TypeError: the hook returned no tensor of floating point.
            ValueError: the hook returned a wrong shape, on another device, or changed the rollout in place;
                ``information_sign`` is neither 1 nor -1, or the model lies on an accelerator and the rollout does not,
                or on the meta device.
            FloatingPointError: the hook returned a non-finite probe inside the reasoning span; the rows are named.
        """
        if self.information_sign not in (1, -1):
            raise ValueError(f"{type(self).__name__}.information_sign: got {self.information_sign!r}, want 1 or -1")
        check_beside(model, rollout.completion_ids.device)
        with unchanged(self, "probe", vars(rollout)):
            probes = self.probe(model, rollout)
        check_returned(self, "probe", probes, Tensor)
        if not probes.is_floating_point():
            raise TypeError(f"{type(self).__name__}.probe: got {probes.dtype}, want numbers of floating point")
        check_one_device(f"{type(self).__name__}.probe", {"probes": probes, "rollout": rollout.completion_ids})
        batch, token = rollout.completion_ids.shape
        if tuple(probes.shape) != (batch, token + 1):
            raise ValueError(
                f"{type(self).__name__}.probe: want shape (batch, token + 1) = {(batch, token + 1)}, "
                f"got {tuple(probes.shape)}"
            )
        values = (self.information_sign * probes).masked_fill(~beside(rollout.reasoning_mask), 0)
        bad = ~values.isfinite().all(1)
        if bool(bad.any()):
            raise FloatingPointError(
                f"{type(self).__name__}: non-finite information in rows {bad.nonzero().flatten().tolist()}"
            )
        return values

    def with_groups(self, rollout: Rollout) -> Rollout:
        """Put into a rollout what this estimator needs of whole groups; the rollout itself if it needs nothing.

        A training loop calls it once, before it splits the rollout into micro-batches, so that information does not
        depend on which rows are estimated together. An estimator that wraps another passes the call on.

        Args:
            rollout: completions whose groups are whole.
        """
        return rollout

    @abstractmethod
    def probe(self, model: nn.Module, rollout: Rollout) -> Float[Tensor, "batch probe"]:
        """Hook: the value of every prefix, ``probe = token + 1``; entry ``t`` has seen ``t`` completion tokens.

        Only entries beside a token of ``rollout.reasoning_mask`` are read; the others are 0.
        """


def information_between(
    values: Float[Tensor, "batch probe"], mask: Bool[Tensor, "batch token"]
) -> Float[Tensor, "batch token"]:
    """Information of each masked token, nats: the difference of the prefix values at its two sides; 0 elsewhere.

    Args:
        values: of the prefixes, as `MIEstimator.prefix_values` returns them.
        mask: the tokens whose information is wanted, those that were measured.
    """
    return (values[:, 1:] - values[:, :-1]).masked_fill(~mask, 0)


class AdvantageAssigner(Hooked, ABC):
    """Turns rewards and token signals into one advantage per token."""

    @property
    def requires(self) -> frozenset[str]:
        """Names of the `TokenSignals` fields that the hook reads, so that a loop computes those and no others."""
        return frozenset()

    @property
    def requires_estimate(self) -> bool:
        """Whether `requires` names what an `MIEstimator` measures: ``information`` or ``prefix_values``.

        Raises:
            ValueError: `requires` is no set of names of signals.
        """
        return not self._required().isdisjoint(ESTIMATED)

    def _required(self) -> Set[str]:
        """`requires`, checked."""
        names, known = self.requires, {field.name for field in fields(TokenSignals)}
        if not isinstance(names, Set) or not names <= known:
            got = sorted(names - known) if isinstance(names, Set) else repr(names)
            raise ValueError(f"{type(self).__name__}.requires: got {got}, want a set of some of {sorted(known)}")
        return names

    def wants_information(self, inputs: AdvantageInputs) -> Bool[Tensor, " batch"]:
        """The completions whose information the hook reads, so that a loop estimates it for no others: all of them.

        It matters only where `requires` names the information or the prefix values. Where they were not estimated, the
        loop's ``information_mask`` is ``False``.

        Args:
            inputs: rewards, groups and masks; the signals may still be missing.
        """
        return torch.ones_like(inputs.rewards, dtype=torch.bool)

    def at(self, progress: float) -> "AdvantageAssigner":
        """The assigner with its weights at a moment of training: itself, unless a weight is scheduled.

        A training loop calls it before every update.

        Args:
            progress: share of the updates already done, from 0 to 1.
        """
        return self

    @shape_checked
    def __call__(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        completion_mask: Bool[Tensor, "batch token"],
        signals: TokenSignals | None = None,
        correct: Bool[Tensor, " batch"] | None = None,
    ) -> AdvantageOutput:
        """Assign an advantage to every completion token.

        Args:
            rewards: one finite number per completion.
            group_ids: completions with equal ids share a baseline, wherever they stand in the batch.
            completion_mask: ``True`` at the completions' tokens.
            signals: those that `requires` names; may be left out if it names none.
            correct: the completions that are correct; ``None``: those with a reward above 0.5. Where rewards also count
                form or length, it has to be given.

        Returns:
            Detached advantages of the rewards' dtype (fp32 at least), 0 outside the loss mask.

        Raises:
            jaxtyping.TypeCheckError: wrong shapes or dtypes; the message names the argument and the sizes.
            TypeError: the hook returned no `AdvantageOutput`.
            ValueError: `requires` is no set of names of signals, a required one is missing or of another shape, devices
                differ, or the hook changed its inputs in place, or returned another shape, a loss mask outside the
                completion mask, or advantages outside the loss mask.
            FloatingPointError: a reward or a required signal is not finite where it is read, the squares of rewards are
                not, or the hook returned an advantage that is not.
        """
        with torch.no_grad():
            inputs = AdvantageInputs(
                rewards=widened(rewards),
                correct=correct_by(rewards) if correct is None else correct,
                group_ids=group_ids,
                completion_mask=completion_mask,
                signals=TokenSignals() if signals is None else signals.wide(),
            )
            check_finite("rewards", inputs.rewards)
            if not bool(inputs.rewards.square().sum().isfinite()):
                raise FloatingPointError(
                    f"rewards: got numbers up to {float(inputs.rewards.abs().max()):.3g}, whose squares "
                    f"{inputs.rewards.dtype} does not hold; want smaller ones"
                )
            for name in sorted(self._required()):
                values = getattr(inputs.signals, name)
                if values is None:
                    raise ValueError(f"signals.{name}: {type(self).__name__} requires it, got None")
                # A z-score or a comparison would make something finite of NaN.
                read = values if name in OF_COMPLETIONS else values.masked_fill(~inputs.read_at(name), 0)
                check_finite(f"signals.{name}", read)
            with unchanged(self, "assign", vars(inputs.signals) | vars(inputs)):
                output = self.assign(inputs)
        check_returned(self, "assign", output, AdvantageOutput)
        given_and_returned = {"advantages": output.advantages, "completion_mask": completion_mask}
        check_one_device(f"{type(self).__name__}.assign", given_and_returned)
        if output.advantages.shape != completion_mask.shape:
            raise ValueError(
                f"{type(self).__name__}.assign: want advantages of shape {tuple(completion_mask.shape)}, "
                f"got {tuple(output.advantages.shape)}"
            )
        if bool((output.loss_mask & ~completion_mask).any()):
            raise ValueError(f"{type(self).__name__}.assign: loss_mask must be a subset of completion_mask")
        # Before the next check, to which NaN times a mask is a value outside of it.
        check_finite(f"{type(self).__name__}.assign: advantages", output.advantages)
        if bool((output.advantages.masked_fill(output.loss_mask, 0) != 0).any()):
            raise ValueError(f"{type(self).__name__}.assign: advantages must be 0 outside loss_mask")
        return output

    @abstractmethod
    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """Hook: the advantages and the loss mask.

        Args:
            inputs: the arguments of the call, checked. Rewards and signals are in fp32 or better; no gradient is
                recorded.
        """


class PolicyLoss(Hooked, ABC):
    """A surrogate loss over completion tokens."""

    @property
    def requires_reference(self) -> bool:
        """Whether the hook reads ``ref_logprobs``, so that a loop keeps a reference policy only if it is needed."""
        return False

    @property
    def requires_sampler(self) -> bool:
        """Whether the hook reads ``sampler_logprobs``, so that a loop hands them over only if they are needed."""
        return False

    def learns_from(
        self, advantages: Float[Tensor, "batch token"], loss_mask: Bool[Tensor, "batch token"]
    ) -> Bool[Tensor, " batch"]:
        """Which completions may have a gradient; a loop runs no backward for the others.

        Here: all. A loss without a penalty, whose gradient is 0 where advantages are, says so by
        `iapo.losses.with_advantages`, and the groups whose rewards are all equal cost a forward and no backward.
        """
        return torch.ones(len(loss_mask), dtype=torch.bool, device=loss_mask.device)

    @shape_checked
    def __call__(
        self,
        policy_logprobs: Float[Tensor, "batch token"],
        old_logprobs: Float[Tensor, "batch token"],
        advantages: Float[Tensor, "batch token"],
        loss_mask: Bool[Tensor, "batch token"],
        denominator: Float[Tensor, ""],
        ref_logprobs: Float[Tensor, "batch token"] | None = None,
        sampler_logprobs: Float[Tensor, "batch token"] | None = None,
    ) -> LossOutput:
        """The loss of a batch or of one micro-batch of a step.

        Args:
            policy_logprobs: log-probabilities (nats) of the sampled tokens under the policy that is trained; carries
                the gradient.
            old_logprobs: the same under the policy that sampled; detached here.
            advantages: as an `AdvantageAssigner` returns them; detached here.
            loss_mask: tokens that enter the loss. Values at other positions are not used; they may be NaN.
            denominator: what the summed loss is divided by: `denominator` of the *whole step's* loss mask, so that
                micro-batches, accumulation and ranks add up to one gradient.
            ref_logprobs: the same under the reference policy, for the KL penalty; detached here.
            sampler_logprobs: ``old_logprobs`` as the sampler computed them (`iapo.Rollout.sampler_logprobs`), for a
                correction of their difference; detached here.

        Returns:
            The loss and its metrics; both sum over the micro-batches of a step.

        Raises:
            jaxtyping.TypeCheckError: wrong shapes or dtypes; the message names the argument and the sizes.
            TypeError: the hook returned no `LossOutput`.
            ValueError: devices differ, ``denominator`` is not positive and finite, or the hook changed its inputs in
                place.
            FloatingPointError: an input or the loss is NaN or infinite at a token of the loss mask; the tensor and the
                rows are named.
        """
        tensors = {"policy_logprobs": policy_logprobs, "old_logprobs": old_logprobs, "advantages": advantages}
        optional = {"ref_logprobs": ref_logprobs, "sampler_logprobs": sampler_logprobs}
        tensors |= {name: tensor for name, tensor in optional.items() if tensor is not None}
        check_one_device(type(self).__name__, tensors | {"loss_mask": loss_mask})
        if not 0 < float(denominator) < float("inf"):
            raise ValueError(f"denominator: got {float(denominator)}, want a positive, finite number")
        for name, tensor in tensors.items():
            clean = tensor.masked_fill(~loss_mask, 0)
            check_finite(name, clean)
            tensors[name] = clean if name == "policy_logprobs" else clean.detach()
        inputs = LossInputs(**tensors, loss_mask=loss_mask, denominator=denominator)
        with unchanged(self, "compute", vars(inputs)):
            output = self.compute(inputs)
        check_returned(self, "compute", output, LossOutput)
        check_finite(f"{type(self).__name__}.compute: loss", output.loss)
        return output

    @abstractmethod
    def compute(self, inputs: LossInputs) -> LossOutput:
        """Hook: the loss and its metrics.

        Args:
            inputs: the arguments of the call, checked. Everything outside the loss mask is 0 and everything inside is
                finite; only the policy's log-probabilities carry a gradient.
        """

    @abstractmethod
    def denominator(self, loss_mask: Bool[Tensor, "batch token"]) -> Float[Tensor, ""]:
        """What the summed loss of a step is divided by, from the loss mask of the *whole* step; at least 1.

        Denominators of ranks add up; micro-batches of a step share the step's.
        """


class PolicyOptimizer(Hooked, ABC):
    """Collects the losses of a step and updates the policy at its boundary.

    Weights change at the boundary alone, along the gradient of the sum of the step's losses. A step is refused, weights
    and state bitwise untouched, if one of its losses or its gradient is NaN or infinite, or if its gradient is exactly
    zero; `iapo.StepStats` counts it. `iapo.testing.check_policy_optimizer` checks all of this.
    """

    @shape_checked
    def __call__(self, loss: Float[Tensor, ""], boundary: bool = True) -> StepStats | None:
        """Back-propagate one (micro-batch) loss; at a boundary, update the weights.

        Args:
            loss: scalar; the losses of a step add up.
            boundary: whether this is the last loss of the step.

        Returns:
            The step's statistics at a boundary, ``None`` before it.

        Raises:
            jaxtyping.TypeCheckError: a loss that is no scalar of floating point.
            TypeError: the hook returned something else than `StepStats` at a boundary, or than ``None`` before it.
        """
        stats = self.accumulate(loss, boundary)
        check_returned(self, "accumulate", stats, StepStats if boundary else type(None))
        return stats

    @abstractmethod
    def accumulate(self, loss: Float[Tensor, ""], boundary: bool) -> StepStats | None:
        """Hook: arguments and result are those of the call."""

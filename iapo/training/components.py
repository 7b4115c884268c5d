"""What travels together through an update: the components, and the numbers that say how they are called."""

import dataclasses
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch

from iapo.interfaces import AdvantageAssigner, MIEstimator, PolicyLoss, PolicyOptimizer, Reward, Sampler
from iapo.ops.checks import check_choice, check_integer, check_number, named_kind
from iapo.ops.correct import CORRECT_ABOVE
from iapo.training.distributed.processes import SINGLE, Processes

Answer = Literal["own", "reference"]
"""The answer that an estimator is asked about: the completion's own, or the row's reference."""

_KINDS = {
    "sampler": Sampler,
    "estimator": MIEstimator,
    "assigner": AdvantageAssigner,
    "loss": PolicyLoss,
    "optimizer": PolicyOptimizer,
}


@dataclass(frozen=True)
class Components:
    """The parts of a training loop, each of which can be replaced alone.

    Args:
        sampler: samples the completions of each prompt from the policy.
        rewards: reward functions by the name they are logged under; their sum is the reward, and the first says
            which completions are correct.
        estimator: is asked only if ``assigner`` requires information.
        assigner: turns rewards and signals into advantages.
        loss: turns advantages into a loss; may be ``None`` where another loop does.
        optimizer: turns the loss into new weights; may be ``None`` likewise.

    Raises:
        TypeError: a part that is none of its kind, such as a class in place of an object of it, or a sampler whose
            temperature is no number.
        ValueError: ``assigner`` requires information, and the estimator measures it at another temperature than the
            sampler's: its values would be those of a policy that nobody samples from.
    """

    sampler: Sampler
    rewards: Mapping[str, Reward]
    estimator: MIEstimator
    assigner: AdvantageAssigner
    loss: PolicyLoss
    optimizer: PolicyOptimizer

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            part = getattr(self, name)
            if part is None and name in ("loss", "optimizer"):
                continue
            if not isinstance(part, kind):
                raise TypeError(f"{name}: got {named_kind(part)}, want an object of a subclass of iapo.{kind.__name__}")
        if not isinstance(self.sampler.temperature, int | float):
            raise TypeError(f"sampler.temperature: got {self.sampler.temperature!r}, want a number")
        check_same_temperature(self.estimator, self.assigner, self.sampler.temperature)

    def at(self, progress: float) -> "Components":
        """The same components with the assigner's weights at this share (0 to 1) of the training."""
        return dataclasses.replace(self, assigner=self.assigner.at(progress))


@dataclass(frozen=True)
class UpdateSettings:
    """How an update calls its components.

    Args:
        group_size: completions of each prompt.
        micro_batch: completions in one forward and backward; it changes memory and speed, not the update.
        epochs: optimizer steps on the same completions; above 1 the ratio to the sampling policy moves away from 1.
        answer: what the estimator is asked about: the completion's ``own`` answer or the row's ``reference`` (its
            ``answer`` column; of a GSM8K solution what follows ``####``).
        autocast: the reduced precision of forwards; ``None``: the precision of the weights.
        reward_time_limit: seconds that one reward function may take over the completions; ``None``: no limit.
        correct_above: a completion is correct if its score by the first reward function is above this.
        gradient_checkpointing: keep only the inputs of layers for the backward and compute the rest again; it changes
            memory and speed, not the update.
        processes: those that make the update together, each on the same rows, settings and random state; the policy is
            wrapped by DDP or FSDP2.

    Raises:
        ValueError: a number of completions or steps below 1, another ``answer``, a ``reward_time_limit`` that is not
            positive and finite, or a ``correct_above`` that is no finite number.
        TypeError: ``autocast`` is no dtype of torch.
    """

    group_size: int
    micro_batch: int
    epochs: int = 1
    answer: Answer = "own"
    autocast: torch.dtype | None = None
    reward_time_limit: float | None = None
    correct_above: float = CORRECT_ABOVE
    gradient_checkpointing: bool = False
    processes: Processes = SINGLE

    def __post_init__(self) -> None:
        for name in ("group_size", "micro_batch", "epochs"):
            check_integer(name, getattr(self, name))
        check_choice("answer", self.answer, Answer)
        limit = self.reward_time_limit
        check_number("correct_above", self.correct_above)
        check_number("reward_time_limit", limit, "a positive number of seconds", lambda x: x > 0, or_none=True)
        if not isinstance(self.autocast, torch.dtype | None):
            raise TypeError(f"autocast: got {self.autocast!r}, want a dtype such as torch.bfloat16, or None")

    def autocast_context(self, device: torch.device) -> AbstractContextManager[Any]:
        """A new context in which forwards on ``device`` run in the reduced precision.

        Each block needs a context of its own: ``torch.autocast`` that is entered twice stays on after the second exit.
        """
        return nullcontext() if self.autocast is None else torch.autocast(device.type, self.autocast)


def check_same_temperature(estimator: MIEstimator, assigner: AdvantageAssigner, temperature: float) -> None:
    """Raise ``ValueError`` if ``assigner`` reads what ``estimator`` measures at another than the sampler's temperature.

    Its values would be those of a policy that nobody samples from.
    """
    measured = estimator.temperature
    if assigner.requires_estimate and measured not in (None, temperature):
        raise ValueError(
            f"estimator.temperature: got {measured}, the sampler's is {temperature}; give both the same, as with "
            f"{type(estimator).__name__}(..., temperature={temperature})"
        )


def check_answer_is_read(answer: Answer, estimator: MIEstimator, assigner: AdvantageAssigner | None = None) -> None:
    """Raise ``ValueError`` if the reference is to be asked about, and ``estimator`` or ``assigner`` never asks.

    An assigner must not be one of an update: a weight that a schedule sets to 0 there reads nothing for that update.
    """
    if answer == "own":
        return
    reason, name = None, type(estimator).__name__
    if assigner is not None and not assigner.requires_estimate:
        reason = f"{type(assigner).__name__} reads no information; leave it out, or take an assigner that does"
    elif not estimator.reads_answer:
        reason = f"{name} asks for no answer; leave it out, or take AnswerLikelihood"
    elif not estimator.takes_reference:
        reason = f"{name} measures how sure an answer is, whichever it is; leave it out, or take AnswerLikelihood"
    if reason is not None:
        raise ValueError(f"answer: got {answer!r}, and {reason}")


def warn_of_nothing_measured(estimator: MIEstimator, assigner: AdvantageAssigner) -> None:
    """Warn if ``assigner`` reads what ``estimator`` says it never measures: its information terms then do nothing."""
    if assigner.requires_estimate and not estimator.measures:
        warnings.warn(
            f"estimator: {type(estimator).__name__} measures nothing, and {type(assigner).__name__} reads what is "
            "measured: the information of every token is 0, and only the outcome trains. Take an estimator that "
            "measures, such as LeaveOut or AnswerLikelihood, or an assigner that reads none, such as GroupRelative",
            stacklevel=2,
        )

"""Where in a completion one step ends and another begins: where `Refined` probes, what `LeaveOut` leaves out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from iapo.ops.checks import (
    check_integer,
    check_integers,
    check_kinds,
    check_number,
    check_one_device,
    unchanged,
)
from iapo.ops.hooks import Hooked
from iapo.ops.token_classes import label_codes
from iapo.types import Rollout


class Boundaries(Hooked, ABC):
    """Where the parts of a completion begin and end: where `Refined` may probe, and the spans of `LeaveOut`."""

    @abstractmethod
    def __call__(self, rollout: Rollout) -> Bool[Tensor, "batch probe"]:
        """``True`` at those prefixes; entry ``t`` has seen ``t`` tokens."""


def boundaries_of(boundaries: Boundaries, rollout: Rollout) -> Bool[Tensor, "batch probe"]:
    """What boundaries say of a rollout, checked.

    Raises:
        TypeError: they returned no tensor of booleans.
        ValueError: they returned another shape or device, or changed the rollout in place.
    """
    owner, (batch, token) = type(boundaries).__name__, rollout.completion_ids.shape
    with unchanged(boundaries, "__call__", vars(rollout)):
        found = boundaries(rollout)
    if not isinstance(found, Tensor) or found.dtype != torch.bool:
        got = f"{found.dtype}" if isinstance(found, Tensor) else type(found).__name__
        raise TypeError(f"{owner}: got {got}, want a tensor of torch.bool, True where a part begins or ends")
    if found.shape != (batch, token + 1):
        raise ValueError(f"{owner}: want shape (batch, token + 1) = {(batch, token + 1)}, got {tuple(found.shape)}")
    check_one_device(owner, {"boundaries": found, "rollout": rollout.completion_ids})
    return found


@dataclass(frozen=True)
class EveryTokens(Boundaries):
    """A boundary behind every ``count`` tokens of the completion, whatever they say.

    Args:
        count: at least 1.

    Raises:
        ValueError: ``count`` below 1.
    """

    count: int

    def __post_init__(self) -> None:
        check_integer("count", self.count)

    def __call__(self, rollout: Rollout) -> Bool[Tensor, "batch probe"]:
        """``True`` at the prefixes whose length is a multiple of ``count``."""
        batch, token = rollout.completion_ids.shape
        steps = torch.arange(token + 1, device=rollout.completion_ids.device)
        return (steps % self.count == 0).expand(batch, -1)


@dataclass(frozen=True)
class StepBoundaries(Boundaries):
    """Where steps begin and end, recognized by their tokens.

    Args:
        before_ids: a step begins in front of each of these tokens.
        after_ids: a step ends behind each of these tokens, such as a newline.
        run_ids: a run of these tokens, such as filler words, is a step of its own.
        result_ids: a step ends behind the token that follows one of these, such as ``=``.
        surprisal: nats, at least 0; there is a boundary in front of each token that the sampler gave a probability
            below ``exp(-surprisal)``, where the policy might have said something else, unless a run goes on there.
            Needs ``rollout.sampler_logprobs``. ``None``: no such boundaries.

    Raises:
        ValueError: negative ids, or a ``surprisal`` that is negative or not finite; on a call, ``surprisal`` for a
            rollout without ``sampler_logprobs``.
    """

    before_ids: tuple[int, ...] = ()
    after_ids: tuple[int, ...] = ()
    run_ids: tuple[int, ...] = ()
    result_ids: tuple[int, ...] = ()
    surprisal: float | None = None

    def __post_init__(self) -> None:
        for name in ("before_ids", "after_ids", "run_ids", "result_ids"):
            check_integers(name, getattr(self, name), least=0, or_empty=True)
        check_number("surprisal", self.surprisal, "a number of nats of at least 0", lambda x: x >= 0, or_none=True)

    def __call__(self, rollout: Rollout) -> Bool[Tensor, "batch probe"]:
        """``True`` at the prefixes at whose end a step begins or ends; entry ``t`` has seen ``t`` tokens."""

        def among(ids: tuple[int, ...]) -> Tensor:
            return torch.isin(rollout.completion_ids, torch.tensor(ids, dtype=torch.long, device=device))

        device = rollout.completion_ids.device
        runs = among(self.run_ids)
        # A token's mask shifted to its two sides: token t - 1 stands in front of probe t, token t behind it.
        behind, front = (lambda mask: nn.functional.pad(mask, (0, 1))), (lambda mask: nn.functional.pad(mask, (1, 0)))
        found = behind(among(self.before_ids)) | front(among(self.after_ids)) | (behind(runs) != front(runs))
        found |= nn.functional.pad(among(self.result_ids), (2, 0))[:, :-1]
        if self.surprisal is not None:
            if rollout.sampler_logprobs is None:
                raise ValueError("rollout.sampler_logprobs: boundaries at surprising tokens need them, got None")
            found |= behind(rollout.sampler_logprobs < -self.surprisal) & ~(behind(runs) & front(runs))
        return found


@dataclass(frozen=True)
class ClassBoundaries(Boundaries):
    """Where the class of the tokens changes, by a rule that labels them.

    With ``stride=1`` the information of each class then adds up to what the wrapped estimator gives it, exactly.

    Args:
        classify: a rollout to the class of every token of each completion, padding left out; such as
            `iapo.diagnostics.classify_completions`, its prompts given.
        beside: only where one of the two classes is among these; ``None``: all.

    Raises:
        ValueError: on a call, another number of completions than rows, or of labels than a completion has tokens.
    """

    classify: Callable[[Rollout], Sequence[Sequence[str]]]
    beside: frozenset[str] | None = None

    def __post_init__(self) -> None:
        check_kinds(self)

    def __call__(self, rollout: Rollout) -> Bool[Tensor, "batch probe"]:
        """``True`` at the prefixes behind which a token of another class follows; entry ``t`` has seen ``t`` tokens."""
        names, codes = label_codes("classify", self.classify(rollout), rollout.completion_mask)
        front, behind = codes[:, :-1], codes[:, 1:]
        found = (front != behind) & (behind >= 0)
        if self.beside is not None:
            wanted = torch.tensor([i for i, name in enumerate(names) if name in self.beside], device=codes.device)
            found &= torch.isin(front, wanted) | torch.isin(behind, wanted)
        return nn.functional.pad(found, (1, 1))

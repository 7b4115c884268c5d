"""The data that flows between components, and the axis legend.

Axis names, the same words in every annotation and einops pattern of the library:

=========== =====================================================================
``batch``   completions (prompts repeated ``group`` times)
``group``   completions of one prompt
``prompt``  prompt positions, left-padded
``token``   completion positions, right-padded
``vocab``   vocabulary entries
``probe``   prefixes after which the answer is asked for, ``probe = token + 1``
``postfix`` tokens appended to a prefix to ask for the answer
``answer``  answer positions, right-padded
``exit``    positions of what forces an answer: postfix, answer and closing, right-padded
``reward``  reward functions
=========== =====================================================================

Masks are boolean, ``True`` = counts. Entropies and information are in nats. Tensor names say who made them:
``policy_logprobs``, ``old_logprobs``, ``ref_logprobs``, ``sampler_logprobs``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from iapo.ops.checks import check_one_device
from iapo.ops.masked import beside
from iapo.ops.precision import widened
from iapo.ops.shapes import checked_record


def _right_padded(name: str, mask: Bool[Tensor, "batch width"]) -> None:
    if mask.shape[1] > 1 and bool((mask[:, 1:] & ~mask[:, :-1]).any()):
        row = int((mask[:, 1:] & ~mask[:, :-1]).any(1).nonzero()[0])
        raise ValueError(f"{name}: must be right-padded (True ... True False ... False), row {row} is not")


_FIELDS_OF_AXIS = {
    "prompt": ("prompt_mask", "prompt_ids"),
    "token": ("completion_mask", "completion_ids", "reasoning_mask", "sampler_logprobs"),
    "answer": ("answer_mask", "answer_ids"),
    "exit": ("exit_scored", "exit_ids"),
}
"""The padded fields of a `Rollout` by their second axis; the first one is ``True`` at the last position of a row."""


@checked_record
class Rollout:
    """Sampled completions with their prompts: what a `Sampler` returns and an `MIEstimator` reads.

    Args:
        prompt_ids: token ids of the prompts, left-padded.
        prompt_mask: ``True`` at the prompts' tokens.
        completion_ids: token ids of the completions, right-padded.
        completion_mask: ``True`` at the completions' tokens; the end-of-sequence token counts.
        reasoning_mask: the span that is probed for information; a subset of ``completion_mask``.
        group_ids: completions with equal ids answer the same prompt and share a baseline.
        sampler_logprobs: log-probability (nats) of each completion token under the sampling distribution
            (temperature applied, before any truncation such as top-p).
        answer_ids: the answer that an estimator is asked about (the completion's own or the reference), right-padded.
        answer_mask: ``True`` at the answers' tokens; an empty row means that there is no answer to ask about.
        candidates: by group id, the token ids of the answers that an estimator compares in that group. They are fixed
            while the group is whole (`MIEstimator.with_groups`) and stay as they are when rows are selected.
        exit_ids: what forces the answer, as the tokenizer writes it behind the reasoning: the text that closes the
            reasoning and opens the answer, the answer, and the text that ends it, right-padded. ``None``: estimators
            put their own tokens around ``answer_ids``.
        exit_scored: ``True`` at every token that holds a character of the answer or of the text that ends it; the last
            one is the row's last token. A row without an answer has none, or none that is read.
        finished: whether each completion came to its end, by an end-of-sequence token or a stop text, and was not cut.
            ``None``: its last token says so.
        unread: how many characters at the end of each completion's text are no part of it: the stop text that ended it,
            and what its last token holds behind that. ``None``: none.

    Raises:
        jaxtyping.TypeCheckError: a field of wrong shape or dtype; the message names it and the sizes.
        ValueError: tensors on several devices, a mask padded on the wrong side, a negative token id or ``unread``,
            ``reasoning_mask`` outside ``completion_mask``, only one of ``answer_ids`` and ``answer_mask``, or of
            ``exit_ids`` and ``exit_scored``, or an answer without its exit where others have theirs.
    """

    prompt_ids: Int[Tensor, "batch prompt"]
    prompt_mask: Bool[Tensor, "batch prompt"]
    completion_ids: Int[Tensor, "batch token"]
    completion_mask: Bool[Tensor, "batch token"]
    reasoning_mask: Bool[Tensor, "batch token"]
    group_ids: Int[Tensor, " batch"]
    sampler_logprobs: Float[Tensor, "batch token"] | None = None
    answer_ids: Int[Tensor, "batch answer"] | None = None
    answer_mask: Bool[Tensor, "batch answer"] | None = None
    # Not tuple[int, ...]: to check one, beartype draws from Python's random numbers, which belong to the caller.
    candidates: Mapping[int, tuple] | None = None
    exit_ids: Int[Tensor, "batch exit"] | None = None
    exit_scored: Bool[Tensor, "batch exit"] | None = None
    finished: Bool[Tensor, " batch"] | None = None
    unread: Int[Tensor, " batch"] | None = None

    def __post_init__(self) -> None:
        check_one_device("Rollout", vars(self))
        _right_padded("prompt_mask (read from the right)", self.prompt_mask.flip(1))
        _right_padded("completion_mask", self.completion_mask)
        names = ("prompt_ids", "completion_ids", "answer_ids", "exit_ids", "unread")
        least = {name: values.min() for name in names if (values := getattr(self, name)) is not None and values.numel()}
        if least and int(torch.stack([value.long() for value in least.values()]).min()) < 0:  # devices wait once
            name, value = next((name, int(value)) for name, value in least.items() if value < 0)
            raise ValueError(f"{name}: got {value}, want numbers of at least 0, at padding too")
        if bool((self.reasoning_mask & ~self.completion_mask).any()):
            raise ValueError("reasoning_mask: must be a subset of completion_mask, it is True at padded positions")
        for pair in (("answer_ids", "answer_mask"), ("exit_ids", "exit_scored")):
            given = [name for name in pair if getattr(self, name) is not None]
            if len(given) == 1:
                raise ValueError(f"{pair[0]} and {pair[1]}: give both or neither, got only {given[0]}")
        if self.answer_mask is not None:
            _right_padded("answer_mask", self.answer_mask)
            if self.exit_scored is not None:
                lacking = (self.answer_mask.any(1) & ~self.exit_scored.any(1)).nonzero().flatten().tolist()
                if lacking:
                    raise ValueError(
                        f"exit_scored: rows {lacking} have an answer and no exit; where answers change, give both anew "
                        "(iapo.rollout.ask_about, iapo.rollout.with_answers) or set exit_ids and exit_scored to None"
                    )

    def __len__(self) -> int:
        """Number of completions."""
        return self.completion_ids.shape[0]

    @property
    def completion_lengths(self) -> Int[Tensor, " batch"]:
        """Number of tokens of each completion, end of sequence included."""
        return self.completion_mask.sum(1)

    def select(self, rows: Int[Tensor, " rows"] | slice) -> "Rollout":
        """The completions in ``rows``, in that order, with padding that no row needs cut off.

        Args:
            rows: indices of completions, or a slice of them.
        """
        fields = {name: value[rows] for name, value in self._tensors().items()}
        for axis, names in _FIELDS_OF_AXIS.items():
            if names[0] in fields:
                width = max(1, _longest(fields[names[0]], left=axis == "prompt"))
                needed = slice(-width, None) if axis == "prompt" else slice(width)
                fields |= {name: fields[name][:, needed] for name in names if name in fields}
        return Rollout(**fields, candidates=self.candidates)

    def pad(self, prompt: int = 0, token: int = 0, answer: int = 0, pad_id: int = 0, exit: int = 0) -> "Rollout":
        """The same texts in wider tensors.

        Args:
            prompt: more positions before the prompts.
            token: more positions after the completions.
            answer: more positions after the answers, if there are any.
            pad_id: the token id in them.
            exit: more positions after the exits, if there are any.

        Raises:
            ValueError: a negative number of positions.
        """
        more = {"prompt": (prompt, 0), "token": (0, token), "answer": (0, answer), "exit": (0, exit)}
        if min(prompt, token, answer, exit) < 0:
            got = f"{prompt}, {token}, {answer}, {exit}"
            raise ValueError(f"prompt, token, answer, exit: got {got}, want numbers of at least 0")
        fields = self._tensors()
        for axis, names in _FIELDS_OF_AXIS.items():
            for name in fields.keys() & names:
                value = pad_id if name.endswith("_ids") else 0
                fields[name] = nn.functional.pad(fields[name], more[axis], value=value)
        return Rollout(**fields, candidates=self.candidates)

    @staticmethod
    def cat(rollouts: Sequence["Rollout"]) -> "Rollout":
        """The completions of several rollouts in one, in their order, padded to the widest with token id 0.

        Group ids stay as they are: rollouts of different prompts need different ones. A field that one of the rollouts
        lacks is ``None``.

        Args:
            rollouts: at least one.

        Raises:
            ValueError: no rollouts.
        """
        if not rollouts:
            raise ValueError("rollouts: got none, want at least one")
        widths = [(each.prompt_ids.shape[1], each.completion_ids.shape[1]) for each in rollouts]
        prompt, token = (max(sizes) for sizes in zip(*widths, strict=True))
        answers = [0 if each.answer_ids is None else each.answer_ids.shape[1] for each in rollouts]
        exits = [0 if each.exit_ids is None else each.exit_ids.shape[1] for each in rollouts]
        wide = [
            each.pad(prompt - own[0], token - own[1], max(answers) - answer, exit=max(exits) - exit)
            for each, own, answer, exit in zip(rollouts, widths, answers, exits, strict=True)
        ]
        tensors = [each._tensors() for each in wide]
        shared = [name for name in tensors[0] if all(name in each for each in tensors)]
        known = [each.candidates for each in rollouts if each.candidates is not None]
        candidates = {group: found for each in known for group, found in each.items()}
        return Rollout(
            **{name: torch.cat([each[name] for each in tensors]) for name in shared},
            candidates=candidates if len(known) == len(rollouts) else None,
        )

    def to(self, device: torch.device | str) -> "Rollout":
        """The same rollout with every tensor on ``device``; itself if they are there."""
        tensors = {name: tensor.to(device) for name, tensor in self._tensors().items()}
        if all(tensor is getattr(self, name) for name, tensor in tensors.items()):
            return self
        return Rollout(**tensors, candidates=self.candidates)

    def _tensors(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}


def _longest(mask: Bool[Tensor, "batch width"], left: bool) -> int:
    """How many positions a mask needs, counted from the side that is not padded."""
    steps = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return int((mask * (steps.flip(0) if left else steps)).max()) if mask.numel() else 0


@checked_record
class TokenSignals:
    """What an `AdvantageAssigner` may ask for, of each token or of each completion; what is not asked for is ``None``.

    Args:
        information: of each token about the answer, nats; 0 where it was not measured.
        information_mask: where information was measured (a rollout's ``reasoning_mask``, in the completions that the
            assigner asks for). ``None``: at every token of the completion.
        prefix_values: what is known about the answer after each prefix, nats, entry ``t`` after ``t`` tokens: the
            estimator's probe times its ``information_sign``, so that it grows with what is known and information is
            its difference. 0 at prefixes that are not beside a token of the ``information_mask``.
        policy_entropy: entropy of the sampling policy's next-token distribution, nats.
        policy_logprobs: log-probability of the sampled token under the sampling policy, nats.
        completion_ids: token ids of the completions.
        reasoning_mask: the tokens of the reasoning; a subset of the completion mask.
        reward_columns: of each completion the reward of each reward function by itself, in the order of the functions;
            they sum to the completion's reward.
        outcome_advantages: of each token the advantage that another part assigned from the rewards alone, such as the
            engine that trains; `iapo.advantages.GivenOutcome` returns them.
        reference_length: mean tokens of a reference policy's completions of the same prompt.
        reference_accuracy: share of a reference policy's completions of the same prompt that are correct.

    Raises:
        jaxtyping.TypeCheckError: a field of wrong shape or dtype.
        ValueError: tensors on several devices.
    """

    information: Float[Tensor, "batch token"] | None = None
    information_mask: Bool[Tensor, "batch token"] | None = None
    prefix_values: Float[Tensor, "batch probe"] | None = None
    policy_entropy: Float[Tensor, "batch token"] | None = None
    policy_logprobs: Float[Tensor, "batch token"] | None = None
    completion_ids: Int[Tensor, "batch token"] | None = None
    reasoning_mask: Bool[Tensor, "batch token"] | None = None
    reward_columns: Float[Tensor, "batch reward"] | None = None
    outcome_advantages: Float[Tensor, "batch token"] | None = None
    reference_length: Float[Tensor, " batch"] | None = None
    reference_accuracy: Float[Tensor, " batch"] | None = None

    def __post_init__(self) -> None:
        check_one_device("TokenSignals", vars(self))

    def select(self, rows: Int[Tensor, " rows"] | slice) -> "TokenSignals":
        """The signals of the completions in ``rows``, in that order; the width stays as it is.

        Args:
            rows: indices of completions, or a slice of them.
        """
        return TokenSignals(**{name: None if value is None else value[rows] for name, value in vars(self).items()})

    def wide(self) -> "TokenSignals":
        """The same numbers in fp32 or better, so that nothing is computed from them in half precision."""
        return TokenSignals(
            **{
                name: widened(value) if value is not None and value.is_floating_point() else value
                for name, value in vars(self).items()
            }
        )


OF_COMPLETIONS = ("reward_columns", "reference_length", "reference_accuracy")
"""The signals that have no token axis."""

ESTIMATED = ("information", "prefix_values")
"""The signals that an estimator measures; the information mask goes with them."""


@checked_record
class AdvantageInputs:
    """What an `AdvantageAssigner` assigns advantages from.

    Args:
        rewards: one number per completion.
        correct: the completions that are correct. Rewards may also count form or length, which says nothing about it.
        group_ids: completions with equal ids answer the same prompt and share a baseline, wherever they stand in the
            batch.
        completion_mask: ``True`` at the completions' tokens.
        signals: what the assigner requires; empty if left out.

    Raises:
        jaxtyping.TypeCheckError: a field of wrong shape or dtype; the message names it and the sizes.
        ValueError: tensors on several devices, a signal that does not have the shape of ``completion_mask``
            (``prefix_values`` have one column more, and signals of whole completions have one row for each), or an
            ``information_mask`` or ``reasoning_mask`` outside ``completion_mask``.
    """

    rewards: Float[Tensor, " batch"]
    correct: Bool[Tensor, " batch"]
    group_ids: Int[Tensor, " batch"]
    completion_mask: Bool[Tensor, "batch token"]
    signals: TokenSignals = TokenSignals()

    def __post_init__(self) -> None:
        signals = {f"signals.{name}": value for name, value in vars(self.signals).items() if value is not None}
        check_one_device("AdvantageInputs", vars(self) | signals)
        batch, token = self.completion_mask.shape
        for name, signal in signals.items():
            if name.removeprefix("signals.") in OF_COMPLETIONS:
                if len(signal) != batch:
                    raise ValueError(f"{name}: got {len(signal)} rows for {batch} completions")
            elif name == "signals.prefix_values":
                if signal.shape != (batch, token + 1):
                    raise ValueError(
                        f"{name}: want shape (batch, token + 1) = {(batch, token + 1)}, got {tuple(signal.shape)}"
                    )
            elif signal.shape != self.completion_mask.shape:
                raise ValueError(
                    f"{name}: want the shape of completion_mask {tuple(self.completion_mask.shape)}, "
                    f"got {tuple(signal.shape)}"
                )
        for name in ("information_mask", "reasoning_mask"):
            mask = getattr(self.signals, name)
            if mask is not None and bool((mask & ~self.completion_mask).any()):
                raise ValueError(f"signals.{name}: must be a subset of completion_mask, it is True at other positions")

    def __len__(self) -> int:
        """Number of completions."""
        return len(self.rewards)

    def read_at(self, name: str) -> Bool[Tensor, "batch position"]:
        """Where the values of a signal of tokens or prefixes may be read; elsewhere they may be anything, also NaN.

        Args:
            name: of a field of `TokenSignals`.
        """
        measured = self.signals.information_mask
        mask = self.completion_mask if name not in ESTIMATED or measured is None else measured
        return beside(mask) if name == "prefix_values" else mask

    def select(self, rows: Int[Tensor, " rows"] | slice) -> "AdvantageInputs":
        """The completions in ``rows``, in that order; the width stays as it is.

        Args:
            rows: indices of completions, or a slice of them.
        """
        return AdvantageInputs(
            self.rewards[rows],
            self.correct[rows],
            self.group_ids[rows],
            self.completion_mask[rows],
            self.signals.select(rows),
        )


@checked_record
class AdvantageOutput:
    """What an `AdvantageAssigner` returns.

    Args:
        advantages: advantage of each completion token; 0 outside ``loss_mask``.
        loss_mask: tokens that enter the loss; a subset of the completion mask.
        metrics: scalars worth logging, by name. A metric that was not computed is absent.
        terms: ``advantages`` split into what they are made of, by name: they sum to ``advantages``, and each is 0
            outside ``loss_mask``. ``None``: not split.
    """

    advantages: Float[Tensor, "batch token"]
    loss_mask: Bool[Tensor, "batch token"]
    metrics: dict[str, float]
    terms: Mapping[str, Float[Tensor, "batch token"]] | None = None

    def changed(
        self, change: Callable[[Tensor], Tensor], loss_mask: Bool[Tensor, "rows width"] | None = None
    ) -> "AdvantageOutput":
        """The output with its advantages and each of their terms changed alike.

        Args:
            change: of a tensor; linear, so that terms still sum to the advantages.
            loss_mask: of the tokens that enter the loss then; ``None``: as before.
        """
        return AdvantageOutput(
            advantages=change(self.advantages),
            loss_mask=self.loss_mask if loss_mask is None else loss_mask,
            metrics=self.metrics,
            terms=None if self.terms is None else {name: change(term) for name, term in self.terms.items()},
        )


@checked_record
class LossInputs:
    """What a `PolicyLoss` is computed from: a batch, or one micro-batch of a step.

    Args:
        policy_logprobs: log-probabilities (nats) of the sampled tokens under the policy that is trained.
        old_logprobs: the same under the policy that sampled.
        advantages: as an `AdvantageAssigner` returns them.
        loss_mask: tokens that enter the loss.
        denominator: what the summed loss is divided by, of the *whole step*.
        ref_logprobs: the same as ``policy_logprobs`` under the reference policy, if there is one.
        sampler_logprobs: the same as ``old_logprobs`` as the sampler computed them, which may be another engine.

    Raises:
        jaxtyping.TypeCheckError: a field of wrong shape or dtype; the message names it and the sizes.
        ValueError: tensors on several devices. Only the denominator may lie on another one.
    """

    policy_logprobs: Float[Tensor, "batch token"]
    old_logprobs: Float[Tensor, "batch token"]
    advantages: Float[Tensor, "batch token"]
    loss_mask: Bool[Tensor, "batch token"]
    denominator: Float[Tensor, ""]
    ref_logprobs: Float[Tensor, "batch token"] | None = None
    sampler_logprobs: Float[Tensor, "batch token"] | None = None

    def __post_init__(self) -> None:
        check_one_device("LossInputs", vars(self) | {"denominator": None})

    def __len__(self) -> int:
        """Number of completions."""
        return len(self.loss_mask)


@checked_record
class LossOutput:
    """What a `PolicyLoss` returns.

    Args:
        loss: scalar to differentiate; micro-batches of one step sum to the loss of the step.
        metrics: detached scalars, each already weighted so that micro-batches of one step sum to the step's value.
    """

    loss: Float[Tensor, ""]
    metrics: dict[str, Float[Tensor, ""]]


@checked_record
class StepStats:
    """What a `PolicyOptimizer` reports at a step boundary.

    Args:
        step: optimizer steps taken so far, this one included.
        stepped: whether the weights changed. ``False``: the step was refused.
        grad_norm: global L2 norm of the gradient before clipping.
        learning_rate: learning rate of the first parameter group that this step used.
        skipped: steps refused so far (non-finite loss or gradient, or nothing to learn from).
        reason: why the step was refused, empty if it was not.
    """

    step: int
    stepped: bool
    grad_norm: float
    learning_rate: float
    skipped: int
    reason: str = ""

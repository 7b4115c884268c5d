"""The contract of samplers: properties that every sampler has, wherever its completions come from."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from iapo.interfaces import Prompts, Sampler
from iapo.policy.forward import inference_mode, unwrap
from iapo.policy.logprobs import completion_logprobs
from iapo.testing.checks import Check, assert_close, assert_equal_masks, run_checks, seeded
from iapo.testing.models import untouched
from iapo.types import Rollout


def check_sampler(sampler: Sampler, **options: Any) -> dict[str, bool]:
    """Run every check of `SamplerContract` that applies.

    Args:
        sampler: called a few dozen times.
        options: fields of `SamplerContract`, above all ``prompts``.

    Returns:
        Whether each check applied, by name; all that did have passed.

    Raises:
        AssertionError: the sampler does not have a property; the message names it, the sizes and the difference.
        TypeError: ``sampler`` is no `iapo.Sampler`, or a class.

    Example:
        >>> from iapo.rollout import ScriptedSampler
        >>> applied = check_sampler(ScriptedSampler(lambda prompt, index: [5] * index))
        >>> [name for name in applied if not applied[name]]
        ['end_of_sequence', 'logprobs', 'model_untouched']
    """
    return run_checks(sampler, sampler_checks(**options), Sampler)


def sampler_checks(**options: Any) -> tuple[Check, ...]:
    """The checks of a sampler, each to be called with it. ``options``: fields of `SamplerContract`."""
    return SamplerContract(**options).checks()


@dataclass(frozen=True)
class SamplerContract:
    """The properties of an `iapo.Sampler`.

    Torch's generators are seeded before each call and put back afterwards.

    Args:
        prompts: what it is called with, as texts or token ids; of several lengths, so that there is padding.
        group_sizes: completions per prompt, one call each.
        seeds: how many seeds are tried, a check.
        tolerance: of recorded log-probabilities; nats, absolute and relative.
        eos_ids: tokens that end a completion; ``None``: those of the sampler's ``tokenizer`` and ``model``.
        records_logprobs: ``False`` for a sampler with a ``model`` that does not record log-probabilities.
    """

    prompts: Prompts = ((4, 8, 9), (4,), (7, 6, 8, 3, 9))
    group_sizes: tuple[int, ...] = (1, 2, 3)
    seeds: int = 4
    tolerance: float = 2e-5
    eos_ids: tuple[int, ...] | None = None
    records_logprobs: bool = True

    def checks(self) -> tuple[Check, ...]:
        """All of them, in the order in which they are best read."""

        def has_model(sampler: Sampler) -> bool:
            return hasattr(sampler, "model")

        return (
            Check("groups", self.groups),
            Check("prompts", self.same_prompts, self._knows_prompts, "prompts as token ids, or a `tokenizer`"),
            Check("padding", self.padding),
            Check(
                "end_of_sequence",
                self.end_of_sequence,
                lambda sampler: bool(self._eos_ids(sampler)),
                "eos_ids, or a sampler with a `tokenizer` or `model` that names them",
            ),
            Check("repeatable", self.repeatable),
            Check(
                "logprobs",
                self.logprobs,
                lambda sampler: has_model(sampler) and self.records_logprobs,
                "a sampler with a `model` that records log-probabilities (records_logprobs)",
            ),
            Check("model_untouched", self.model_untouched, has_model, "a sampler with a `model`"),
        )

    def groups(self, sampler: Sampler) -> None:
        """Each prompt has ``group_size`` completions, and ``group_ids`` say which prompt a row answers."""
        for size, rollout in self._rollouts(sampler):
            counts = torch.bincount(rollout.group_ids.cpu(), minlength=len(self.prompts)).tolist()
            if counts != [size] * len(self.prompts):
                raise AssertionError(
                    f"want {size} completions for each of {len(self.prompts)} prompts, group_ids count {counts}"
                )

    def same_prompts(self, sampler: Sampler) -> None:
        """The prompt of each row is the one that its group id names."""
        wanted = self._prompt_ids(sampler)
        for _, rollout in self._rollouts(sampler):
            for row, group in enumerate(rollout.group_ids.tolist()):
                found = rollout.prompt_ids[row, rollout.prompt_mask[row]].tolist()
                if found != wanted[group]:
                    raise AssertionError(
                        f"row {row} of {len(rollout)}, group {group}: want prompt {wanted[group]}, got {found}"
                    )

    def padding(self, sampler: Sampler) -> None:
        """Prompts are left-padded, completions and answers right-padded, and recorded numbers are 0 in padding."""
        for _, rollout in self._rollouts(sampler):
            sides = {
                "prompt_mask, left-padded": rollout.prompt_mask.flip(1),
                "completion_mask, right-padded": rollout.completion_mask,
                "answer_mask, right-padded": rollout.answer_mask,
            }
            for what, mask in sides.items():
                if mask is not None:
                    full = torch.arange(mask.shape[1], device=mask.device) < mask.sum(1, keepdim=True)
                    assert_equal_masks(what, mask, full)
            if rollout.sampler_logprobs is not None:
                padded = rollout.sampler_logprobs.masked_fill(rollout.completion_mask, 0)
                assert_close("sampler_logprobs in padding", padded, torch.zeros_like(padded), atol=0)

    def end_of_sequence(self, sampler: Sampler) -> None:
        """An end-of-sequence token is a completion's last, counted; without one it ends at the limit or a stop text."""
        eos_ids = self._eos_ids(sampler)
        limit = getattr(sampler, "max_new_tokens", None)
        for _, rollout in self._rollouts(sampler):
            unread = rollout.completion_mask.new_zeros(len(rollout)) if rollout.unread is None else rollout.unread > 0
            for row, at_stop_text in enumerate(unread.tolist()):
                ids = rollout.completion_ids[row, rollout.completion_mask[row]].tolist()
                ends = [position for position, token in enumerate(ids) if token in eos_ids]
                if ends and ends[0] < len(ids) - 1:
                    raise AssertionError(
                        f"row {row} of {len(rollout)} has {len(ids)} tokens and goes on after its end at {ends[0]}"
                    )
                if limit is not None and not ends and not at_stop_text and len(ids) != limit:
                    raise AssertionError(
                        f"row {row} of {len(rollout)} has {len(ids)} tokens, max_new_tokens is {limit}, and no "
                        f"end-of-sequence token ({', '.join(map(str, sorted(eos_ids)))}) counts in completion_mask"
                    )

    def repeatable(self, sampler: Sampler) -> None:
        """From the same seed of torch's generators it samples the same."""
        for (size, first), (_, second) in zip(self._rollouts(sampler), self._rollouts(sampler), strict=True):
            for field in dataclasses.fields(Rollout):
                one, two = getattr(first, field.name), getattr(second, field.name)
                if (one is None) != (two is None):
                    raise AssertionError(f"{field.name}: there in one call of group size {size}, missing in the other")
                if one is not None:
                    assert_close(f"{field.name}, second call, group size {size}", two, one, atol=0)

    def logprobs(self, sampler: Sampler) -> None:
        """``sampler_logprobs`` are those of the policy at the sampler's temperature (at 1 if that is 0)."""
        model = sampler.model  # type: ignore[attr-defined]
        for size, rollout in self._rollouts(sampler):
            if rollout.sampler_logprobs is None:
                raise AssertionError(f"sampler_logprobs: got None for {len(rollout)} rows, want log-probabilities")
            with inference_mode(model):
                expected, _ = completion_logprobs(model, rollout, temperature=sampler.temperature or 1.0)
            what = f"sampler_logprobs against the policy, group size {size}, temperature {sampler.temperature}"
            assert_close(what, rollout.sampler_logprobs, expected, self.tolerance, self.tolerance)

    def model_untouched(self, sampler: Sampler) -> None:
        """Weights, gradients, training modes and settings of the model are left as they were."""
        with untouched(sampler.model):  # type: ignore[attr-defined]
            self._rollouts(sampler)

    def _rollouts(self, sampler: Sampler) -> list[tuple[int, Rollout]]:
        """Group size and rollout, for every seed and group size."""
        found = []
        for seed in range(self.seeds):
            for size in self.group_sizes:
                with seeded(seed, _device(sampler)):
                    found.append((size, sampler(self.prompts, size)))
        return found

    def _knows_prompts(self, sampler: Sampler) -> bool:
        return hasattr(sampler, "tokenizer") or not any(isinstance(prompt, str) for prompt in self.prompts)

    def _prompt_ids(self, sampler: Any) -> list[list[int]]:
        return [
            list(sampler.tokenizer(prompt, add_special_tokens=False)["input_ids"])
            if isinstance(prompt, str)
            else list(prompt)
            for prompt in self.prompts
        ]

    def _eos_ids(self, sampler: Any) -> set[int]:
        if self.eos_ids is not None:
            return set(self.eos_ids)
        found = [getattr(getattr(sampler, "tokenizer", None), "eos_token_id", None)]
        if hasattr(sampler, "model"):
            own = getattr(getattr(unwrap(sampler.model), "generation_config", None), "eos_token_id", None)
            found += own if isinstance(own, list) else [own]
        return {token for token in found if token is not None}


def _device(sampler: Any) -> torch.device | None:
    return next(sampler.model.parameters()).device if hasattr(sampler, "model") else None

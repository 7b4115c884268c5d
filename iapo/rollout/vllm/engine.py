"""What an engine of vLLM is to a sampler, wherever it runs: it takes the policy's weights, is checked, completes."""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from iapo.policy.forward import UnsupportedModelError
from iapo.policy.logprobs import completion_logprobs
from iapo.policy.weights import base_model
from iapo.rollout.collation import collate

_CHECKED_TOKENS = 16
_EXACT, _ROUNDED = 0.01, 0.2
"""Mean difference of log-probabilities (nats) up to which an engine is believed: in fp32 throughout, and otherwise."""

Completions = list[list[tuple[list[int], list[float]]]]
"""Of each prompt the completions, each with its tokens and their log-probabilities (nats)."""


@dataclass(eq=False)
class Engine(ABC):
    """An engine of vLLM that holds the weights of a policy."""

    _checked: bool = field(default=False, init=False, repr=False)

    @property
    @abstractmethod
    def length(self) -> int:
        """The positions of a prompt with its completion; known once weights were loaded."""

    @property
    @abstractmethod
    def precision(self) -> torch.dtype:
        """That of weights and activations; known once weights were loaded."""

    @property
    @abstractmethod
    def gives(self) -> str:
        """Which log-probabilities, by vLLM's name of the mode (``logprobs_mode``); known once weights were loaded."""

    @abstractmethod
    def load(self, model: Any) -> None:
        """Hand the engine the weights of ``model`` if it has others.

        Args:
            model: the policy, wrappers such as DDP taken off.

        Raises:
            RuntimeError: vLLM cannot start, is not there, or does not take the weights.
            ValueError: the engine is one for another model.
            FloatingPointError: a weight is NaN or infinite.
        """

    @abstractmethod
    def answer(self, prompt_ids: Sequence[Sequence[int]], parameters: Sequence[Mapping[str, Any]]) -> Completions:
        """Hook: completions of each prompt in their order, of which no part was read before for other prompts.

        Args:
            prompt_ids: the prompts.
            parameters: of each prompt the arguments of ``vllm.SamplingParams``.
        """

    @abstractmethod
    def close(self) -> None:
        """Forget what the engine is believed to hold, and drop it if it is this process's; `load` begins anew."""

    def differs_from(self, other: "Engine") -> str:
        """The first setting that another engine has otherwise, in words; empty if there is none."""
        for each in dataclasses.fields(self):
            if each.init and each.compare and getattr(self, each.name) != getattr(other, each.name):
                return f"{each.name} is {getattr(self, each.name)!r}, not {getattr(other, each.name)!r}"
        return ""

    def check(self, model: Any, prompt: Sequence[int]) -> None:
        """After new weights: compare what the engine says of a completion with what the model says of it.

        Args:
            model: the policy, in evaluation mode.
            prompt: is completed for it; with room for one token at least.

        Raises:
            iapo.policy.forward.UnsupportedModelError: they differ by more than rounding.
        """
        if self._checked:
            return
        tokens = min(_CHECKED_TOKENS, self.length - len(prompt))
        ids, values = self.complete([prompt], [0], group_size=1, max_tokens=tokens)[0][0]
        rollout = collate([prompt], [ids], [0], 0, None, sampler_logprobs=[values]).to(model.device)
        expected = completion_logprobs(model, rollout)[0]
        assert rollout.sampler_logprobs is not None
        gap = float((expected - rollout.sampler_logprobs).abs().sum() / len(ids))
        exact = base_model(model).dtype == torch.float32 and self.precision == torch.float32
        if not gap <= (allowed := _EXACT if exact else _ROUNDED):
            raise UnsupportedModelError(
                f"model: vLLM gives the tokens of a completion log-probabilities that differ from the policy's by "
                f"{gap:.2g} nats on average, and {allowed} are allowed: weights of {type(model).__name__} did not "
                "reach it, or it computes something else; use CompactingSampler or TransformersSampler"
            )
        self._checked = True

    def complete(
        self,
        prompt_ids: Sequence[Sequence[int]],
        seeds: Sequence[int],
        group_size: int,
        max_tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        eos_ids: Sequence[int] = (),
    ) -> Completions:
        """Completions of each prompt by the weights that were loaded last.

        Args:
            prompt_ids: the prompts.
            seeds: of each prompt.
            group_size: completions of each; at temperature 0 they are copies of one.
            max_tokens: the length at which a completion is cut.
            temperature: logits are divided by it; 0 takes the likeliest token.
            top_p: as in `LanguageModelSampler`.
            eos_ids: tokens that end a completion.

        Raises:
            FloatingPointError: logits that are NaN or infinite.
            RuntimeError: vLLM failed, or returned fewer completions.
        """
        samples = int(group_size) if temperature > 0 else 1  # vLLM refuses several greedy ones
        parameters = [
            {
                "n": samples,
                "temperature": temperature,
                "top_p": top_p,
                "max_tokens": int(max_tokens),  # a plain number, which the command line's is not
                "ignore_eos": True,  # of vLLM's own reading of the model's files
                "stop_token_ids": list(eos_ids),
                "logprobs": 0,
                "seed": seed if temperature > 0 else None,
                "detokenize": False,
            }
            for seed in seeds
        ]
        found: Completions = []
        for rows in self.answer(prompt_ids, parameters):
            if len(rows) != samples:
                self.close()
                raise RuntimeError(f"vLLM: got {len(rows)} completions of a prompt, want {samples}")
            found.append(rows * (group_size // samples))
        if not all(math.isfinite(value) for rows in found for _, values in rows for value in values):
            raise FloatingPointError(
                "model: its logits in vLLM are NaN or infinite, so that nothing can be sampled; its weights are too "
                "large for the engine's precision (dtype float32; a smaller --optimizer.lr if it was trained so far)"
            )
        return found


Precision = Literal["auto", "float32", "bfloat16", "float16"]
"""Of an engine; ``auto``: that of the policy's weights."""


def named_dtype(dtype: str, model: Any) -> str:
    """A precision by vLLM's name; of ``auto`` that of the model's weights."""
    return str(model.dtype).removeprefix("torch.") if dtype == "auto" else dtype


def check_finite_weights(weights: Mapping[str, Tensor]) -> None:
    """Raise ``FloatingPointError`` for weights that are NaN or infinite; the first is named."""
    floats = {name: value for name, value in weights.items() if value.is_floating_point()}
    # A sum is several times faster than a look at each, and NaN or infinite if one of them is.
    wide = {torch.float16: torch.float32}
    bad = [name for name, value in floats.items() if not bool(value.sum(dtype=wide.get(value.dtype)).isfinite())]
    if bad:
        raise FloatingPointError(
            f"model: {bad[0]} holds NaN or infinite values, so that nothing can be sampled; its weights are damaged (a "
            "smaller --optimizer.lr if it was trained so far)"
        )

"""The base class of samplers of a language model: their arguments, the end of a completion, and the rollout."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from iapo.interfaces import Prompts, Sampler
from iapo.policy.forward import inference_mode, unwrap
from iapo.policy.limits import limits_of
from iapo.rollout.collation import collate
from iapo.rollout.prompts import encode_prompts
from iapo.rollout.spans import Markers
from iapo.types import Rollout

Generated = tuple[Int[Tensor, "batch token"], Float[Tensor, "batch token"]]
"""Sampled tokens and their log-probabilities (nats); meaningless behind a row's first end of sequence."""


@dataclass(frozen=True, eq=False)
class LanguageModelSampler(Sampler):
    """Base of what samples from a causal language model: ``o_t ~ softmax(logits_t / temperature)``, cut to ``top_p``.

    The model is sampled as it is: penalties, top-k and the like in its ``generation_config`` do not apply; only its
    end-of-sequence ids are read, with the tokenizer's. It runs in evaluation mode without gradients; its training mode
    is put back. A completion ends with its first end-of-sequence token, which belongs to it, or at ``max_new_tokens``.

    *Randomness.* Tokens are sampled with torch's global generator of the model's device. ``torch.manual_seed`` makes
    a call repeatable; to resume a run, save and restore ``torch.get_rng_state()`` (on CUDA, ``torch.cuda``'s too).

    *Log-probabilities.* ``sampler_logprobs`` are those of the sampled tokens in nats, after the temperature and
    before ``top_p`` cuts the tail off. At temperature 0 (the likeliest token every time, which has no distribution)
    they are those at temperature 1.

    Args:
        model: a causal language model of transformers, possibly wrapped (DDP).
        tokenizer: of the model. Texts are encoded without adding special tokens: apply a chat template before.
        max_new_tokens: the length at which a completion is cut, in tokens.
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_p: tokens are sampled from the smallest set that holds this probability.
        max_batch: completions sampled at once; ``None``: all.
        reasoning_start: text that opens the reasoning.
        reasoning_end: text that closes it.
        answer_start: text that opens the answer.
        answer_end: text that closes it.

    Raises:
        ValueError: a number outside its range, an empty marker; on a call, a prompt of which no token is made, or a
            token that the model has no embedding of.
        FloatingPointError: on a call, logits that are NaN or infinite.
        TypeError: on a call, a model that cannot generate.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    max_batch: int | None = None
    reasoning_start: str = "<think>"
    reasoning_end: str = "</think>"
    answer_start: str = "<answer>"
    answer_end: str = "</answer>"

    def __post_init__(self) -> None:
        _ = self.markers  # raises for an empty one
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens: got {self.max_new_tokens}, want at least 1")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature: got {self.temperature}, want a number of at least 0")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p: got {self.top_p}, want a number above 0 and at most 1")
        if self.max_batch is not None and self.max_batch < 1:
            raise ValueError(f"max_batch: got {self.max_batch}, want at least 1, or None")

    @property
    def markers(self) -> Markers:
        """The four markers as one record."""
        return Markers(self.reasoning_start, self.reasoning_end, self.answer_start, self.answer_end)

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """The tokens that end a completion: those of the model's ``generation_config`` and the tokenizer's."""
        own = unwrap(self.model).generation_config.eos_token_id
        ids = [own] if isinstance(own, int) else list(own or [])
        if self.tokenizer.eos_token_id is not None:
            ids.append(self.tokenizer.eos_token_id)
        return tuple(dict.fromkeys(ids))

    def sample(self, prompts: Prompts, group_size: int) -> Rollout:
        """Sample ``group_size`` completions of each prompt, one prompt after the other."""
        model = unwrap(self.model)
        self.check_model(model)
        prompt_ids = encode_prompts(prompts, self.tokenizer)
        limits = limits_of(model)
        for index, ids in enumerate(prompt_ids):
            limits.check_tokens(ids, self.tokenizer, f"prompts[{index}]")
        eos_ids = self.eos_ids
        pad_id = self.tokenizer.pad_token_id
        pad_id = pad_id if pad_id is not None else next(iter(eos_ids), 0)
        completion_ids: list[list[int]] = []
        logprobs: list[list[float]] = []
        with inference_mode(self.model):
            for tokens, values in self.generate(model, prompt_ids, group_size, eos_ids, pad_id):
                for row, row_values in zip(tokens.tolist(), values.tolist(), strict=True):
                    length = next((t + 1 for t, token in enumerate(row) if token in eos_ids), len(row))
                    completion_ids.append(row[:length])
                    logprobs.append(row_values[:length])
        return collate(
            prompt_ids=[ids for ids in prompt_ids for _ in range(group_size)],
            completion_ids=completion_ids,
            group_ids=[group for group in range(len(prompts)) for _ in range(group_size)],
            pad_id=pad_id,
            tokenizer=self.tokenizer,
            markers=self.markers,
            eos_ids=eos_ids,
            sampler_logprobs=logprobs,
            device=model.device,
        )

    def check_model(self, model: Any) -> None:
        """Raise for a model, wrappers taken off, that cannot be sampled this way."""
        if not hasattr(model, "generate"):
            raise TypeError(f"model: want a model of transformers that can generate, got {type(model).__name__}")

    @abstractmethod
    def generate(
        self, model: Any, prompt_ids: list[list[int]], group_size: int, eos_ids: Sequence[int], pad_id: int
    ) -> Iterator[Generated]:
        """Hook: batches of completions that follow each other in the order of the prompts, groups together.

        Args:
            model: wrappers taken off; in evaluation mode, gradients off.
            prompt_ids: one row of tokens a prompt.
            group_size: completions of each.
            eos_ids: tokens that end a completion.
            pad_id: the token id of padding.
        """

"""Samples from a language model with a decoding loop of its own that drops completions from the batch as they end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import DynamicCache, PreTrainedTokenizerBase, TopPLogitsWarper
from transformers.cache_utils import DynamicLayer

from iapo.forward import positions, scoring, sharded, unwrap
from iapo.interfaces import Prompts, Sampler
from iapo.rollout.collate import collate
from iapo.rollout.growing import GrowingLayer
from iapo.rollout.padding import pad_rows
from iapo.rollout.prompts import encode_prompts
from iapo.rollout.spans import check_markers
from iapo.rollout.transformers import _eos_ids
from iapo.types import Rollout

_DROP = 0.25
"""Share of ended rows at which they are dropped: dropping copies the cache, keeping them computes for nothing."""

_SELECTABLE = {"full_attention", "sliding_attention", "chunked_attention"}
"""Layer types of transformers whose cache is one row of keys and values per row of the batch."""


@dataclass(frozen=True, eq=False)
class CompactingSampler(Sampler):
    """Samples completions from a causal language model: ``o_t ~ softmax(logits_t / temperature)``, cut to ``top_p``.

    The distribution is that of `TransformersSampler`, and so are the arguments; what differs is the work. A prompt runs
    through the model once for its whole group, and completions that have ended leave the batch, so that the cost
    follows the mean length of completions instead of the longest. The same seed gives other completions than there.

    The model is sampled as it is: penalties, top-k and the like in its ``generation_config`` do not apply; only its
    end-of-sequence ids are read, with the tokenizer's. It runs in evaluation mode without gradients; its training mode
    is put back. A completion ends with its first end-of-sequence token, which belongs to it, or at ``max_new_tokens``.

    *Randomness.* Tokens are drawn from torch's global generator of the model's device. ``torch.manual_seed`` makes
    a call repeatable; to resume a run, save and restore ``torch.get_rng_state()`` (on CUDA, ``torch.cuda``'s too).

    *Log-probabilities.* ``sampler_logprobs`` are those of the sampled tokens in nats, after the temperature and
    before ``top_p`` cuts the tail off. At temperature 0 (the likeliest token every time, which has no distribution)
    they are those at temperature 1.

    *Several ranks.* Ranks take different numbers of steps. Under DDP the module inside is called, which holds all
    weights; weights sharded over ranks (FSDP, ZeRO-3, tensor parallel) are refused, as every forward waits for all.

    Args:
        model: a causal language model of transformers with full or sliding-window attention in every layer, possibly
            wrapped.
        tokenizer: of the model. Texts are encoded without adding special tokens: apply a chat template before.
        max_new_tokens: where a completion is cut, tokens.
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_p: tokens are drawn from the smallest set that holds this probability.
        max_batch: completions sampled at once, whole groups if one fits; ``None``: all.
        reasoning_start: text that opens the reasoning.
        reasoning_end: text that closes it.
        answer_start: text that opens the answer.
        answer_end: text that closes it.

    Raises:
        ValueError: a number outside its range, an empty marker; on a call, a prompt of which no token is made.
        TypeError: on a call, a model that cannot generate, or whose cache cannot lose rows: recurrent, convolutional,
            linear-attention or encoder-decoder models, and models that keep no cache or a part of it.
        RuntimeError: on a call, weights sharded over several ranks.
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
        check_markers(self.reasoning_start, self.reasoning_end, self.answer_start, self.answer_end)
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens: got {self.max_new_tokens}, want at least 1")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature: got {self.temperature}, want a number of at least 0")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p: got {self.top_p}, want a number above 0 and at most 1")
        if self.max_batch is not None and self.max_batch < 1:
            raise ValueError(f"max_batch: got {self.max_batch}, want at least 1, or None")

    def sample(self, prompts: Prompts, group_size: int) -> Rollout:
        """Sample ``group_size`` completions of each prompt, one prompt after the other."""
        model = unwrap(self.model)
        _refuse_uncompactable(model)
        _refuse_sharded(self.model)
        prompt_ids = encode_prompts(prompts, self.tokenizer)
        eos_ids = _eos_ids(model, self.tokenizer)
        pad_id = self.tokenizer.pad_token_id
        pad_id = pad_id if pad_id is not None else next(iter(eos_ids), 0)
        completion_ids: list[list[int]] = []
        logprobs: list[list[float]] = []
        with scoring(self.model):
            for part, copies in _batches(prompt_ids, group_size, self.max_batch):
                ids, mask = pad_rows(part, pad_id, left=True, device=model.device)
                tokens, values = self._decode(model, ids, mask, copies, eos_ids)
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
            reasoning_start=self.reasoning_start,
            reasoning_end=self.reasoning_end,
            answer_start=self.answer_start,
            answer_end=self.answer_end,
            eos_ids=eos_ids,
            sampler_logprobs=logprobs,
            device=model.device,
        )

    def _decode(
        self, model: Any, ids: Tensor, mask: Tensor, copies: int, eos_ids: Sequence[int]
    ) -> tuple[Int[Tensor, "batch token"], Float[Tensor, "batch token"]]:
        """Tokens of ``copies`` completions of each prompt and their log-probabilities; of no meaning after an end."""
        # DDP broadcasts buffers at every forward, which would pair forwards of ranks that take different steps.
        forward = model if isinstance(self.model, DistributedDataParallel) else self.model
        width, ends = ids.shape[1], torch.tensor(eos_ids, device=ids.device, dtype=torch.long)
        cache = DynamicCache(config=model.config.get_text_config(decoder=True))
        cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
        logits = _last_logits(forward, cache, ids, mask, positions(mask))
        if cache.get_seq_length() != width:
            raise TypeError(
                f"model: {type(model).__name__} put {cache.get_seq_length()} of {width} positions into the key-value "
                "cache it was given, so that no row can be dropped from it; use TransformersSampler"
            )
        cache.batch_repeat_interleave(copies)
        logits = logits.repeat_interleave(copies, 0)
        mask = nn.functional.pad(mask, (0, self.max_new_tokens), value=True).repeat_interleave(copies, 0)
        places = mask[:, :width].sum(1)
        tokens = ids.new_zeros(len(mask), self.max_new_tokens)
        values = torch.zeros(tokens.shape, device=ids.device)
        rows = torch.arange(len(mask), device=ids.device)
        ended = torch.zeros(len(mask), device=ids.device, dtype=torch.bool)
        for step in range(self.max_new_tokens):
            chosen, logprobs = self._draw(logits)
            tokens[rows, step], values[rows, step] = chosen, logprobs.to(values.dtype)
            ended = ended | torch.isin(chosen, ends)
            count = int(ended.sum())
            if count == len(rows) or step + 1 == self.max_new_tokens:
                break
            if count >= _DROP * len(rows):
                kept = (~ended).nonzero().flatten()
                cache.batch_select_indices(kept)
                rows, chosen, ended, places, mask = (x[kept] for x in (rows, chosen, ended, places, mask))
            seen = mask[:, : width + step + 1]
            logits = _last_logits(forward, cache, chosen[:, None], seen, (places + step)[:, None])
        return tokens, values

    def _draw(self, logits: Float[Tensor, "batch vocab"]) -> tuple[Int[Tensor, " batch"], Float[Tensor, " batch"]]:
        """One token of each row and its log-probability."""
        scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
        logprobs = (scores / self.temperature if self.temperature > 0 else scores).log_softmax(-1)
        if self.temperature == 0:
            chosen = scores.argmax(-1, keepdim=True)
        elif self.top_p < 1:
            chosen = TopPLogitsWarper(self.top_p)(None, logprobs).softmax(-1).multinomial(1)
        else:
            chosen = logprobs.exp().multinomial(1)
        return chosen[:, 0], logprobs.gather(1, chosen)[:, 0]


def _last_logits(
    forward: Any, cache: DynamicCache, ids: Tensor, mask: Tensor, position_ids: Tensor
) -> Float[Tensor, "batch vocab"]:
    return forward(
        input_ids=ids,
        attention_mask=mask.long(),
        position_ids=position_ids,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]


def _batches(
    prompt_ids: list[list[int]], group_size: int, max_batch: int | None
) -> Iterator[tuple[list[list[int]], int]]:
    """Prompts that are decoded together and the number of completions of each, in the order of the rollout's rows."""
    most = max_batch or len(prompt_ids) * group_size
    if group_size <= most:
        step = most // group_size
        for start in range(0, len(prompt_ids), step):
            yield prompt_ids[start : start + step], group_size
        return
    for ids in prompt_ids:
        for start in range(0, group_size, most):
            yield [ids], min(most, group_size - start)


def _refuse_uncompactable(model: Any) -> None:
    if not hasattr(model, "generate"):
        raise TypeError(f"model: want a model of transformers that can generate, got {type(model).__name__}")
    config = model.config.get_text_config(decoder=True)
    odd = sorted(set(getattr(config, "layer_types", None) or ()) - _SELECTABLE)
    why = "an encoder" if model.config.is_encoder_decoder else f"layers of type {', '.join(odd)}" if odd else ""
    if why or getattr(model, "_is_stateful", False):
        raise TypeError(
            f"model: {type(model).__name__} ({config.model_type}) has {why or 'recurrent layers'}, want full or "
            "sliding-window attention in every layer, so that rows can be dropped from its cache; use "
            "TransformersSampler"
        )


def _refuse_sharded(model: nn.Module) -> None:
    """Every forward of sharded weights is a collective, and ranks whose completions end sooner call fewer."""
    if sharded(model):
        raise RuntimeError(
            f"model: its weights are sharded over {torch.distributed.get_world_size()} ranks, which would wait for "
            "each other forever, as the number of forwards follows the completions of each; use TransformersSampler"
        )

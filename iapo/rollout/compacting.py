"""Samples from a language model with a decoding loop of its own that drops completions from the batch as they end."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import DynamicCache, TopPLogitsWarper
from transformers.cache_utils import DynamicLayer

from iapo.ops.padding import pad_rows
from iapo.ops.precision import widened
from iapo.policy.forward import UnsupportedModelError, cache_argument, positions, sharded
from iapo.policy.limits import check_sampleable, sampleable
from iapo.policy.support import layer_types
from iapo.rollout.growing import GrowingLayer
from iapo.rollout.language_model import Generated, LanguageModelSampler, beside_each_other
from iapo.rollout.stopping import StopWatch

_DROP = 0.25
"""Share of ended rows at which they are dropped: dropping copies the cache, keeping them computes for nothing."""

_SELECTABLE = {"full_attention", "sliding_attention", "chunked_attention"}
"""Layer types of transformers whose cache is one row of keys and values per row of the batch."""


class CompactingSampler(LanguageModelSampler):
    """Samples from a causal language model; a prompt runs through it once, and ended completions leave the batch.

    So the cost follows the mean length of completions instead of the longest. The distribution is that of
    `TransformersSampler`; the same seed gives other completions than there. Arguments, randomness and log-probabilities
    are those of `LanguageModelSampler`; ``max_batch`` counts whole groups if one fits. With a model that takes padding
    for text, prompts of different lengths are not sampled together.

    *Several ranks.* Ranks take different numbers of steps. Under DDP the module inside is called, which holds all
    weights; weights sharded over ranks (FSDP, ZeRO-3, tensor parallel) are refused, as every forward waits for all.

    Raises:
        iapo.policy.forward.UnsupportedModelError: on a call, a model whose cache cannot lose rows: recurrent,
            convolutional or linear-attention models, and models that keep no cache or a part of it.
        RuntimeError: on a call, weights sharded over several ranks.
    """

    def check_model(self, model: Any) -> None:
        """Also refuse a model from whose cache rows cannot be dropped, and sharded weights."""
        super().check_model(model)
        _refuse_uncompactable(model)
        _refuse_sharded(self.model)

    def generate(
        self, model: Any, prompt_ids: list[list[int]], group_size: int, eos_ids: Sequence[int], pad_id: int
    ) -> Iterator[Generated]:
        """Tokens and log-probabilities of as many prompts at once as ``max_batch`` allows."""
        for prompts in beside_each_other(model, prompt_ids):
            for part, copies in _batches(prompts, group_size, self.max_batch):
                ids, mask = pad_rows(part, pad_id, left=True, device=model.device)
                yield self._decode(model, ids, mask, copies, eos_ids)

    def _decode(self, model: Any, ids: Tensor, mask: Tensor, copies: int, eos_ids: Sequence[int]) -> Generated:
        """Tokens of ``copies`` completions of each prompt and their log-probabilities; meaningless behind an end."""
        # DDP broadcasts buffers at every forward, which would pair forwards of ranks that take different steps.
        forward = model if isinstance(self.model, DistributedDataParallel) else self.model
        width = ids.shape[1]
        cache = DynamicCache(config=model.config.get_text_config(decoder=True))
        cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
        logits = _last_logits(forward, cache, ids, mask, positions(mask))
        if cache.get_seq_length() != width:
            raise UnsupportedModelError(
                f"model: {type(model).__name__} put {cache.get_seq_length()} of {width} positions into the key-value "
                "cache it was given, so that no row can be dropped from it; use TransformersSampler"
            )
        cache.batch_repeat_interleave(copies)
        logits = logits.repeat_interleave(copies, 0)
        mask = nn.functional.pad(mask, (0, self.max_new_tokens), value=True).repeat_interleave(copies, 0)
        next_positions = mask[:, :width].sum(1)
        tokens = ids.new_zeros(len(mask), self.max_new_tokens)
        values = torch.zeros(tokens.shape, dtype=torch.float32, device=ids.device)
        rows = torch.arange(len(mask), device=ids.device)
        going, ended = list(range(len(mask))), [False] * len(mask)
        watch = StopWatch(self.tokenizer, self.stop, len(mask))
        for step in range(self.max_new_tokens):
            chosen, logprobs, sound = self._sample_tokens(logits)
            tokens[rows, step], values[rows, step] = chosen, logprobs.to(values.dtype)
            sampled, checked = torch.stack([chosen, sound.long()]).tolist()  # all that a step reads from the device
            check_sampleable(checked)
            stopped = watch.see(going, sampled)
            ended = [old or new or token in eos_ids for old, new, token in zip(ended, stopped, sampled, strict=True)]
            if all(ended) or step + 1 == self.max_new_tokens:
                break
            if sum(ended) >= _DROP * len(ended):
                places = [place for place, done in enumerate(ended) if not done]
                going, ended = [going[place] for place in places], [False] * len(places)
                kept = torch.tensor(places, device=ids.device)
                cache.batch_select_indices(kept)
                rows, chosen, next_positions, mask = (each[kept] for each in (rows, chosen, next_positions, mask))
            seen = mask[:, : width + step + 1]
            logits = _last_logits(forward, cache, chosen[:, None], seen, (next_positions + step)[:, None])
        return tokens, values

    def _sample_tokens(
        self, logits: Float[Tensor, "batch vocab"]
    ) -> tuple[Int[Tensor, " batch"], Float[Tensor, " batch"], Bool[Tensor, " batch"]]:
        """One token of each row, its log-probability, and whether it could be sampled; else the token is any."""
        sound = sampleable(logits)
        scores = widened(logits).masked_fill(~sound[:, None], 0)
        logprobs = (scores / self.temperature if self.temperature > 0 else scores).log_softmax(-1)
        if self.temperature == 0:
            chosen = scores.argmax(-1, keepdim=True)
        elif self.top_p < 1:
            chosen = TopPLogitsWarper(self.top_p)(None, logprobs).softmax(-1).multinomial(1)
        else:
            chosen = logprobs.exp().multinomial(1)
        return chosen[:, 0], logprobs.gather(1, chosen)[:, 0], sound


def _last_logits(
    forward: Any, cache: DynamicCache, ids: Tensor, mask: Tensor, position_ids: Tensor
) -> Float[Tensor, "batch vocab"]:
    return forward(
        input_ids=ids,
        attention_mask=mask.long(),
        position_ids=position_ids,
        use_cache=True,
        logits_to_keep=1,
        **{cache_argument(forward): cache},
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
    config = model.config.get_text_config(decoder=True)
    odd = sorted(layer_types(config) - _SELECTABLE)
    why = f"layers of type {', '.join(odd)}" if odd else ""
    # A hybrid that says that all its layers are attention has no state (granitemoehybrid).
    stateful = getattr(model, "_is_stateful", False) and not layer_types(config)
    if why or stateful:
        raise UnsupportedModelError(
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

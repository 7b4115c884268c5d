"""A language model that is a table, so that its completions and their probabilities can be enumerated."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import GenerationConfig, PretrainedConfig
from transformers.modeling_outputs import CausalLMOutput

from iapo.ops.checks import check_integer

_HASH_BASE, _HASH_SIZE = 7919, 10007


class TabularLanguageModel(nn.Module):
    """A causal language model whose next-token distribution is looked up by the tokens before.

    ``logits(o_t | o_<t) = table[context(o_<t)]``, the table random, float64, and a parameter (``table``). Only real
    tokens count, those that ``attention_mask`` marks: padding on either side changes nothing. The context is the last
    ``order`` tokens, or a hash of all of them.

    It has the call signature of transformers' models, but no attention and no cache, so estimators with a packed
    forward refuse it.

    Args:
        vocab_size: number of tokens.
        order: how many of the last tokens matter; ``None``: all, through a hash (long histories may collide).
        seed: of the table.
        scale: standard deviation of its logits; 0: every distribution is uniform.
        eos_token_id: what ``config`` and ``generation_config`` name.

    Raises:
        ValueError: ``vocab_size`` below 1, ``order`` below 0, ``eos_token_id`` outside the vocabulary; on a call, a
            cache.

    Example:
        >>> model = TabularLanguageModel(vocab_size=3, order=1)
        >>> logits = model(input_ids=torch.tensor([[2, 0, 1], [0, 2, 1]])).logits
        >>> torch.equal(logits[0, 2], logits[1, 2]), torch.equal(logits[0, 1], logits[1, 1])
        (True, False)
    """

    _is_stateful = True
    """As for recurrent models of transformers: there are no keys to be masked."""

    def __init__(
        self, vocab_size: int, order: int | None = None, seed: int = 0, scale: float = 1.0, eos_token_id: int = 0
    ) -> None:
        check_integer("vocab_size", vocab_size)
        check_integer("order", order, least=0, or_none=True)
        if not 0 <= eos_token_id < vocab_size:
            raise ValueError(f"eos_token_id: got {eos_token_id}, the vocabulary has {vocab_size} tokens")
        super().__init__()
        self.config = PretrainedConfig.from_dict({"vocab_size": vocab_size, "eos_token_id": eos_token_id})
        self.generation_config = GenerationConfig(eos_token_id=eos_token_id)
        # A number in base vocab_size + 1 cut to its last digits names the last tokens (0: none); cut to a prime, and in
        # another base, it is a hash of all.
        self._base = vocab_size + 1 if order is not None else _HASH_BASE
        contexts = (vocab_size + 1) ** order if order is not None else _HASH_SIZE
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter(scale * torch.randn(contexts, vocab_size, generator=generator, dtype=torch.float64))

    def forward(
        self,
        input_ids: Int[Tensor, "batch width"],
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
    ) -> CausalLMOutput:
        """Logits of the token after each position, ``[batch, kept, vocab]``.

        Args:
            input_ids: token ids.
            attention_mask: ``[batch, width]``, non-zero at real tokens; ``None``: all are.
            position_ids: not read, order alone counts.
            past_key_values: must be ``None``.
            use_cache: not read.
            logits_to_keep: how many of the last positions, 0 for all, or their indices.
        """
        if past_key_values is not None:
            raise ValueError("past_key_values: got a cache, a TabularLanguageModel keeps none")
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        context = torch.zeros_like(input_ids[:, 0])
        contexts = []
        for ids, counts in zip(input_ids.unbind(1), real.bool().unbind(1), strict=True):
            context = torch.where(counts, (context * self._base + ids + 1) % len(self.table), context)
            contexts.append(context)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        return CausalLMOutput(logits=self.table[torch.stack(contexts, 1)[:, kept]])


def enumerate_completions(
    model: nn.Module, prompt: tuple[int, ...], eos_id: int, max_new_tokens: int
) -> list[tuple[tuple[int, ...], float]]:
    """Every completion of a prompt with its probability: ``p(o) = prod_t p(o_t | q, o_<t)``, in float64.

    Completions end with their first ``eos_id`` or at ``max_new_tokens``. One forward over one text at a time: slow
    and plain, for faster enumerations to be compared with it.

    Args:
        model: a causal language model, on the CPU.
        prompt: its token ids, at least one.
        eos_id: the token with which a completion ends.
        max_new_tokens: where it is cut.

    Returns:
        Completions in lexical order, those of probability 0 included.

    Example:
        >>> enumerate_completions(TabularLanguageModel(vocab_size=2, scale=0.0), (1,), eos_id=0, max_new_tokens=2)
        [((0,), 0.5), ((1, 0), 0.25), ((1, 1), 0.25)]
    """

    def following(completion: tuple[int, ...], probability: float) -> list[tuple[tuple[int, ...], float]]:
        if completion[-1:] == (eos_id,) or len(completion) == max_new_tokens:
            return [(completion, probability)]
        step = next_token_probabilities(model, (*prompt, *completion)).tolist()
        return [found for token, p in enumerate(step) for found in following((*completion, token), probability * p)]

    return following((), 1.0)


def next_token_probabilities(model: nn.Module, ids: tuple[int, ...]) -> Float[Tensor, " vocab"]:
    """The distribution of the token after ``ids``, float64."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0, -1].double().softmax(-1)

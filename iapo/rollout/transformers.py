"""Samples from a language model with ``generate`` of transformers, recording the log-probability of each token."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from jaxtyping import Float, Int
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from iapo.ops.padding import pad_rows
from iapo.policy.limits import check_sampleable, limits_of, sampleable
from iapo.policy.logprobs import token_logprobs
from iapo.rollout.language_model import Generated, LanguageModelSampler, beside_each_other
from iapo.rollout.stopping import StopWatch

_LOSES_TEXT = tuple(map(int, transformers.__version__.split(".")[:2])) < (5, 20)
"""Older versions of transformers compute the cache of a Phi-3 anew where it turns its rotations, from the last token
alone: what was before it is lost."""

_MIXES_ROWS = frozenset(["rwkv"])
"""Model types whose states transformers adds to those of all rows of a batch."""


class TransformersSampler(LanguageModelSampler):
    """Samples from a causal language model with ``generate`` of transformers: any model that it can sample.

    Arguments, randomness and log-probabilities are those of `LanguageModelSampler`. The model's ``generation_config``
    is put back. Where a text may become so long that the model turns all its rotations, completions are sampled one at
    a time, with transformers before 5.20 without a cache, which is slow. With a model that takes padding for text,
    prompts of different lengths are not sampled together, and with RWKV no two completions.
    """

    keeps_rows_apart = True

    def generate(
        self, model: Any, prompt_ids: list[list[int]], group_size: int, eos_ids: Sequence[int], pad_id: int
    ) -> Iterator[Generated]:
        """Tokens and log-probabilities of ``max_batch`` completions at a time."""
        turning, longest = limits_of(model).turning, max(map(len, prompt_ids)) + self.max_new_tokens
        turns = turning is not None and longest > turning
        with _generating_with(model, self._generation_config(eos_ids, pad_id, not (turns and _LOSES_TEXT))):
            for prompts in beside_each_other(model, prompt_ids):
                rows = [ids for ids in prompts for _ in range(group_size)]
                step = 1 if turns or model.config.model_type in _MIXES_ROWS else self.max_batch or len(rows)
                for start in range(0, len(rows), step):
                    yield self._generate(model, rows[start : start + step], pad_id)

    def _generation_config(self, eos_ids: Sequence[int], pad_id: int, use_cache: bool) -> GenerationConfig:
        sampling = {"temperature": float(self.temperature), "top_k": 0, "top_p": float(self.top_p)}
        return GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            do_sample=self.temperature > 0,
            eos_token_id=list(eos_ids) or None,
            pad_token_id=pad_id,
            use_cache=use_cache,
            disable_compile=True,
            **(sampling if self.temperature > 0 else {}),
        )

    def _generate(self, model: Any, prompt_ids: list[list[int]], pad_id: int) -> Generated:
        """Sampled tokens, padded after the first end of sequence, and their log-probabilities."""
        ids, mask = pad_rows(prompt_ids, pad_id, left=True, device=model.device)
        recorder = _Recorder(self.temperature or 1.0)
        stopping = _Stopping(recorder, StopWatch(self.tokenizer, self.stop, len(ids)))
        sequences = model.generate(
            input_ids=ids,
            attention_mask=mask.long(),
            logits_processor=LogitsProcessorList([recorder]),
            stopping_criteria=StoppingCriteriaList([stopping]),
        )
        tokens = sequences[:, ids.shape[1] :]
        return tokens, recorder.finish(tokens)


class _Recorder(LogitsProcessor):
    """Keeps the log-probabilities of the tokens chosen, and the distribution of one step at a time.

    ``generate`` runs it before temperature and top-p. It sees which token was chosen when it is called for the next.
    Rows of which nothing can be sampled get any token, and an error comes in the end: to ask the device at every step
    would make the program wait for it.
    """

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature
        self.logits: Tensor | None = None
        self.chosen: list[Tensor] = []
        self.sound: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.sound.append(sampleable(scores))
        scores = scores.masked_fill(~self.sound[-1][:, None], 0)
        if self.logits is not None:
            self.chosen.append(token_logprobs(self.logits, input_ids[:, -1], self.temperature))
        self.logits = scores
        return scores

    def finish(self, tokens: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token"]:
        """The log-probabilities of all ``tokens``; the last were chosen after the last call."""
        assert self.logits is not None
        check_sampleable(torch.stack(self.sound).all(0).tolist())
        # Some devices let `generate` run one step past the end and drop it again: the tokens say how many count.
        last = token_logprobs(self.logits, tokens[:, -1], self.temperature)
        return torch.stack([*self.chosen, last][: tokens.shape[1]], 1)


class _Stopping(StoppingCriteria):
    """Ends the completions that hold a stop text, and those of which no further token can be sampled.

    Unlike that of transformers it reads nothing of the prompt.
    """

    def __init__(self, recorder: _Recorder, watch: StopWatch) -> None:
        self.recorder, self.watch = recorder, watch

    def __call__(self, input_ids: Tensor, scores: Any, **options: Any) -> Tensor:
        ended = ~self.recorder.sound[-1]
        if self.watch.stop:
            found = self.watch.see(range(len(input_ids)), input_ids[:, -1].tolist())
            ended = ended | torch.tensor(found, device=ended.device)
        return ended


@contextmanager
def _generating_with(model: Any, config: GenerationConfig) -> Iterator[None]:
    """``generate`` fills what a config leaves open from the model's own, so the model's own is replaced for a while.

    It is replaced where it is kept, which under an adapter is the model inside.
    """
    own = [(module, module.generation_config) for module in model.modules() if "generation_config" in vars(module)]
    for module, _ in own:
        module.generation_config = config
    try:
        yield
    finally:
        for module, kept in own:
            module.generation_config = kept

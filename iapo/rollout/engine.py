"""An engine of vLLM in this process, which holds the weights of a policy: started, kept up to date, checked, asked."""

import gc
import os
import random
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iapo.policy.forward import UnsupportedModelError
from iapo.policy.logprobs import completion_logprobs
from iapo.policy.weights import base_model, checkpoint_weights, fingerprint
from iapo.rollout.collation import collate

_CHECKED_TOKENS = 16
_EXACT, _ROUNDED = 0.01, 0.2
"""Mean difference of log-probabilities (nats) up to which an engine is believed: in fp32 throughout, and otherwise."""

OWN_ARGUMENTS = frozenset(
    (
        *("model", "load_format", "skip_tokenizer_init", "generation_config", "seed", "dtype", "enforce_eager"),
        *("max_model_len", "max_num_seqs", "kv_cache_memory_bytes", "logprobs_mode"),
    )
)
"""Arguments of ``vllm.LLM`` that follow from others or must be what they are."""

Completions = list[list[tuple[list[int], list[float]]]]
"""Of each prompt the completions, each with its tokens and their log-probabilities (nats)."""


@dataclass(eq=False)
class VLLMEngine:
    """An engine of vLLM that is started when it is needed and gets the weights of the policy from memory.

    Args:
        dtype: of weights and sums in the engine; ``auto``: that of the policy's weights.
        max_model_len: positions of a prompt with its completion; ``None``: as many as the policy and the cache have.
        cache_gib: memory of the key-value cache, GiB.
        max_num_seqs: completions sampled at once; ``None``: as many as vLLM takes by default.
        enforce_eager: neither compile the model nor capture CUDA graphs.
        logprobs_mode: that of vLLM.
        options: more arguments of ``vllm.LLM``.
    """

    dtype: str
    max_model_len: int | None
    cache_gib: float
    max_num_seqs: int | None
    enforce_eager: bool
    logprobs_mode: str
    options: Mapping[str, Any]
    _llm: Any = field(default=None, init=False, repr=False)
    _config: str = field(default="", init=False, repr=False)
    _pushed: tuple[int, ...] = field(default=(), init=False, repr=False)
    _checked: bool = field(default=False, init=False, repr=False)
    _release: Callable[[], Any] | None = field(default=None, init=False, repr=False)

    @property
    def length(self) -> int:
        """The positions of a prompt with its completion, once the engine is started."""
        return int(self._llm.llm_engine.model_config.max_model_len)

    def differs_from(self, other: "VLLMEngine") -> str:
        """The first setting that another engine has otherwise, in words; empty if there is none."""
        for name in ("dtype", "max_model_len", "cache_gib", "max_num_seqs", "enforce_eager", "options"):
            own, theirs = getattr(self, name), getattr(other, name)
            if own != theirs:
                return f"{name} is {own!r}, not {theirs!r}"
        return ""

    def load(self, model: Any) -> None:
        """Start the engine if it is not, and hand it the weights of ``model`` if it has others.

        Args:
            model: the policy, wrappers such as DDP taken off.

        Raises:
            RuntimeError: vLLM cannot start or does not take the weights.
            ValueError: the engine was started for a model of another configuration.
            FloatingPointError: a weight is NaN or infinite.
        """
        config = base_model(model).config.to_json_string()
        if self._llm is not None and config != self._config:
            raise ValueError("engine: was started for a model of another configuration; give each model one of its own")
        weights = checkpoint_weights(model)
        found = fingerprint(weights)
        if self._llm is not None and found == self._pushed:
            return
        _check_finite(weights)
        if self._llm is None:
            self._start(base_model(model))
            self._config = config
        with self._named("does not take the weights of the policy"):
            self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights.items())})
            self._llm.apply_model(_process_heads)
        self._pushed, self._checked = found, False

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
        exact = base_model(model).dtype == torch.float32 and self._llm.llm_engine.model_config.dtype == torch.float32
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
        """Completions of each prompt by the weights that were loaded last, from an empty cache of prompts.

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
        from vllm import SamplingParams

        samples = group_size if temperature > 0 else 1  # vLLM refuses several greedy ones
        parameters = [
            SamplingParams(
                n=samples,
                temperature=temperature,
                top_p=top_p,
                max_tokens=max_tokens,
                ignore_eos=True,  # of vLLM's own reading of the model's files
                stop_token_ids=list(eos_ids),
                logprobs=0,
                seed=seed if temperature > 0 else None,
                detokenize=False,
            )
            for seed in seeds
        ]
        prompts = [{"prompt_token_ids": list(ids)} for ids in prompt_ids]
        # A prompt that is still in the cache would be read in other pieces, whose sums round otherwise.
        self._llm.reset_prefix_cache()
        # vLLM compiles a piece of its sampler, for seconds and once more for other sizes, whatever it was told.
        stance = torch.compiler.set_stance("force_eager" if self.enforce_eager else "default")
        with self._named("failed while sampling"), _generators_kept(), stance:
            requests = self._llm.generate(prompts, parameters, use_tqdm=False)
        found: Completions = []
        for request in requests:
            outputs = sorted(request.outputs, key=lambda output: output.index)
            if len(outputs) != samples:
                self.close()
                raise RuntimeError(f"vLLM: got {len(outputs)} completions of a prompt, want {samples}")
            rows = [(list(output.token_ids), _chosen(output)) for output in outputs]
            found.append(rows * (group_size // samples))
        if not np.isfinite([value for rows in found for _, values in rows for value in values]).all():
            raise FloatingPointError(
                "model: its logits in vLLM are NaN or infinite, so that nothing can be sampled; its weights are too "
                "large for the engine's precision (dtype float32; a smaller --optimizer.lr if it was trained so far)"
            )
        return found

    def close(self) -> None:
        """Drop the engine and what it holds; the next call of `load` starts another.

        vLLM's own shutdown would take from other engines of the process what they share.
        """
        self._llm, self._pushed, self._checked = None, (), False
        if self._release is not None:
            self._release()
        gc.collect()

    def _start(self, model: Any) -> None:
        """An engine of the configuration of ``model``, with weights that mean nothing yet."""
        with tempfile.TemporaryDirectory() as folder, _process_kept(), self._named("cannot start"):
            # vLLM reads them when it is imported and when the engine is made; what the user has set stays.
            os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # weights are handed over within the process
            from vllm import LLM

            config = type(model.config).from_dict(model.config.to_dict())
            config.architectures = [type(model).__name__]
            config.save_pretrained(folder)
            sequences = {} if self.max_num_seqs is None else {"max_num_seqs": self.max_num_seqs}
            self._llm = LLM(
                model=folder,
                load_format="dummy",
                skip_tokenizer_init=True,
                generation_config="vllm",
                dtype=str(model.dtype).removeprefix("torch.") if self.dtype == "auto" else self.dtype,
                max_model_len=-1 if self.max_model_len is None else self.max_model_len,
                kv_cache_memory_bytes=int(self.cache_gib * 2**30),
                enforce_eager=self.enforce_eager,
                logprobs_mode=self.logprobs_mode,
                seed=0,
                **sequences,
                **self.options,
            )
            # It would run whenever the engine is collected, and take from other engines of the process what they share.
            self._llm.llm_engine.engine_core._finalizer.detach()
            release = weakref.finalize(self, self._llm.collective_rpc, "shutdown")
            release.atexit = False
            self._release = release

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        """An error of vLLM in one line; whatever ends the block early, an interrupt too, ends the engine.

        An engine that was interrupted still holds the requests of the call.
        """
        try:
            yield
        except Exception as error:
            self.close()
            lines = [line.partition(" [type=")[0].strip() for line in str(error).splitlines()]
            cause = next((line for line in lines if line and "validation error" not in line), type(error).__name__)
            raise RuntimeError(f"vLLM {what}: {cause} (docs/vllm.md says which models and options it takes)") from error
        except BaseException:
            self.close()
            raise


def _chosen(output: Any) -> list[float]:
    """The log-probabilities of the tokens of a completion of vLLM's."""
    return [of[token].logprob for token, of in zip(output.token_ids, output.logprobs, strict=True)]


def _process_heads(model: Any) -> None:
    """Prepare the heads of a vLLM model once more.

    A head that is tied to the embeddings loads nothing itself, and on a CPU it would keep a packed copy of the weights
    before.
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for module in model.modules():
        if isinstance(module, ParallelLMHead):
            module.quant_method.process_weights_after_loading(module)


def _check_finite(weights: Mapping[str, Tensor]) -> None:
    floats = {name: value for name, value in weights.items() if value.is_floating_point()}
    # A sum is several times faster than a look at each, and NaN or infinite if one of them is.
    wide = {torch.float16: torch.float32}
    bad = [name for name, value in floats.items() if not bool(value.sum(dtype=wide.get(value.dtype)).isfinite())]
    if bad:
        raise FloatingPointError(
            f"model: {bad[0]} holds NaN or infinite values, so that nothing can be sampled; its weights are damaged (a "
            "smaller --optimizer.lr if it was trained so far)"
        )


def _generators_kept() -> AbstractContextManager[None]:
    """Put back the states of torch's generators, from which vLLM draws even where requests have seeds."""
    return torch.random.fork_rng(devices=range(torch.cuda.device_count()))


@contextmanager
def _process_kept() -> Iterator[None]:
    """Put back what starting an engine changes of the process: random states, threads of torch, the environment."""
    threads, set_threads, environment = torch.get_num_threads(), torch.set_num_threads, dict(os.environ)
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with _generators_kept(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_num_threads = set_threads
        torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(environment)

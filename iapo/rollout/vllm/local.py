"""An engine of vLLM in this process: started when it is needed, and handed the policy's weights from memory."""

import gc
import os
import tempfile
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from iapo.ops.random_state import capture_rng, restore_rng
from iapo.policy.forward import several_ranks
from iapo.policy.weights import base_model, checkpoint_weights, fingerprint
from iapo.rollout.vllm.engine import Completions, Engine, check_finite_weights, named_dtype
from iapo.rollout.vllm.handover import free_folder, written
from iapo.rollout.vllm.worker import EXTENSION, process_heads

OWN_ARGUMENTS = frozenset(
    (
        *("model", "load_format", "skip_tokenizer_init", "generation_config", "seed", "dtype", "enforce_eager"),
        *("max_model_len", "max_num_seqs", "kv_cache_memory_bytes", "logprobs_mode", "worker_extension_cls"),
    )
)
"""Arguments of ``vllm.LLM`` that follow from others or must be what they are."""


_OF_RANKS = frozenset(f"{of}{what}" for of in ("", "LOCAL_", "GROUP_", "ROLE_") for what in ("RANK", "WORLD_SIZE")) | {
    "MASTER_ADDR",
    "MASTER_PORT",
}
"""Variables by which a launcher says to a process which rank it is."""

_LOOK = 1.0
"""Seconds between two looks at an engine in a process of its own."""

_DIED = (
    "its process ended, as one that the system kills where memory runs out; lower cache_gib or max_num_seqs, then go "
    "on from the last checkpoint with --resume"
)

_NOT_TAKEN = "does not take the weights of the policy"


@dataclass(eq=False)
class LocalEngine(Engine):
    """An engine of vLLM that is started when it is needed and gets the weights of the policy from memory.

    On one of several ranks it runs in a process of its own, beside this one, and gets them by a file: in this one it
    would take the ranks' process group for that of its workers, and wait for ranks that sample nothing.

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
    logprobs_mode: str = field(compare=False)
    options: Mapping[str, Any]
    _llm: Any = field(default=None, init=False, repr=False)
    _apart: bool = field(default=False, init=False, repr=False)
    _config: str = field(default="", init=False, repr=False)
    _pushed: tuple[int, ...] = field(default=(), init=False, repr=False)
    _release: Callable[[], Any] | None = field(default=None, init=False, repr=False)

    @property
    def length(self) -> int:
        """The positions of a prompt with its completion, once the engine is started."""
        return int(self._llm.llm_engine.model_config.max_model_len)

    @property
    def precision(self) -> torch.dtype:
        """That of weights and activations, once the engine is started."""
        found: torch.dtype = self._llm.llm_engine.model_config.dtype
        return found

    @property
    def gives(self) -> str:
        """The mode of its log-probabilities."""
        return self.logprobs_mode

    def load(self, model: Any) -> None:
        """Start the engine if it is not, and hand it the weights of ``model`` if it has others.

        Args:
            model: the policy, wrappers such as DDP taken off.

        Raises:
            RuntimeError: vLLM cannot start or does not take the weights.
            ValueError: the engine was started for a model of another configuration.
            FloatingPointError: a weight is NaN or infinite.
            OSError: the file by which a process of its own gets the weights cannot be written.
        """
        config = base_model(model).config.to_json_string()
        if self._llm is not None and config != self._config:
            raise ValueError("engine: was started for a model of another configuration; give each model one of its own")
        weights = checkpoint_weights(model)
        found = fingerprint(weights)
        if self._llm is not None and found == self._pushed:
            return
        check_finite_weights(weights)
        if self._llm is None:
            self._start(base_model(model))
            self._config = config
        if self._apart:
            remedy = "make room, or name another folder for temporary files (TMPDIR); then go on with --resume"
            with (
                free_folder() as folder,
                written(weights, folder, remedy) as path,
                self._named(_NOT_TAKEN),
                self._watched(),
            ):
                self._llm.collective_rpc("load_policy", args=(str(path), "policy"))
        else:
            with self._named(_NOT_TAKEN):
                self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights.items())})
                self._llm.apply_model(process_heads)
        self._pushed, self._checked = found, False

    def answer(self, prompt_ids: Sequence[Sequence[int]], parameters: Sequence[Mapping[str, Any]]) -> Completions:
        """Completions of each prompt, from an empty cache of prompts."""
        from vllm import SamplingParams

        prompts = [{"prompt_token_ids": list(ids)} for ids in prompt_ids]
        # vLLM compiles a piece of its sampler, for seconds and once more for other sizes, whatever it was told.
        stance = torch.compiler.set_stance("force_eager" if self.enforce_eager else "default")
        with self._named("failed while sampling"), self._watched(), _generators_kept(), stance:
            # A prompt that is still in the cache would be read in other pieces, whose sums round otherwise.
            self._llm.reset_prefix_cache()
            requests = self._llm.generate(prompts, [SamplingParams(**each) for each in parameters], use_tqdm=False)
        ordered = [sorted(request.outputs, key=lambda output: output.index) for request in requests]
        return [[(list(output.token_ids), _chosen(output)) for output in outputs] for outputs in ordered]

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
            self._apart = several_ranks()
            # Weights are handed over within the process where it is the only one.
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = str(int(self._apart))
            if self._apart:
                _enter_own_world(model.device)
            from vllm import LLM, envs

            # An engine within this process keeps the variables as they were when it began.
            getattr(envs, "disable_envs_cache", lambda: None)()
            config = type(model.config).from_dict(model.config.to_dict())
            config.architectures = [type(model).__name__.removeprefix("FSDP")]  # put there by sharding
            config.save_pretrained(folder)
            sequences = {} if self.max_num_seqs is None else {"max_num_seqs": self.max_num_seqs}
            self._llm = LLM(
                model=folder,
                load_format="dummy",
                skip_tokenizer_init=True,
                generation_config="vllm",
                dtype=named_dtype(self.dtype, model),
                max_model_len=-1 if self.max_model_len is None else self.max_model_len,
                kv_cache_memory_bytes=int(self.cache_gib * 2**30),
                enforce_eager=self.enforce_eager,
                logprobs_mode=self.logprobs_mode,
                seed=0,
                worker_extension_cls=EXTENSION,
                **sequences,
                **self.options,
            )
            core = self._llm.llm_engine.engine_core
            if self._apart:
                self._release = weakref.finalize(self, core.shutdown)
                return
            # It would run whenever the engine is collected, and take from other engines of the process what they share.
            core._finalizer.detach()
            release = weakref.finalize(self, self._llm.collective_rpc, "shutdown")
            release.atexit = False
            self._release = release

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """A block that fails if an engine in a process of its own dies: vLLM would wait for its answers forever."""
        if not self._apart:
            yield
            return
        core, over, died = self._llm.llm_engine.engine_core, threading.Event(), threading.Event()

        def watch() -> None:
            while not over.wait(_LOOK):
                if all(each.is_alive() for each in core.resources.engine_manager.processes):
                    continue
                died.set()
                core.outputs_queue.put_nowait(RuntimeError(_DIED))
                for future in [*core.utility_results.values()]:
                    if not future.done():
                        future.set_exception(RuntimeError(_DIED))

        threading.Thread(target=watch, daemon=True, name="iapo-vllm-watch").start()
        try:
            yield
        except Exception as error:
            if died.is_set():
                raise RuntimeError(_DIED) from error
            raise
        finally:
            over.set()

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


def _enter_own_world(device: torch.device) -> None:
    """Set the environment for a process that is none of the ranks, and has their device alone."""
    for name in [*os.environ]:
        if name.startswith("TORCHELASTIC_") or name in _OF_RANKS:
            del os.environ[name]
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"  # a fork would share the ranks' connections
    if device.type == "cuda":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = (
            visible.split(",")[device.index or 0] if visible else str(device.index or 0)
        )


def _generators_kept() -> AbstractContextManager[None]:
    """Put back the states of torch's generators, from which vLLM draws even where requests have seeds."""
    return torch.random.fork_rng(devices=range(torch.cuda.device_count()))


@contextmanager
def _process_kept() -> Iterator[None]:
    """Put back what starting an engine changes of the process: random states, threads of torch, the environment."""
    threads, set_threads, environment = torch.get_num_threads(), torch.set_num_threads, dict(os.environ)
    rng = capture_rng()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        restore_rng(rng)
        torch.set_num_threads = set_threads
        torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(environment)

"""An engine of vLLM that is a server, on this machine or another, and reads the policy's weights from a folder."""

import fcntl
import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from iapo.policy.weights import base_model, checkpoint_weights, fingerprint
from iapo.rollout.vllm.client import Client, RefusedError, UnreachableError
from iapo.rollout.vllm.engine import Completions, Engine, check_finite, written
from iapo.rollout.vllm.worker import EXTENSION, NOT_THERE, SHAPE

_NOT_FINITE = -9999.0
"""What vLLM's server writes for a log-probability that is NaN or beyond."""


@dataclass(eq=False)
class ServerEngine(Engine):
    """A vLLM server, which is handed the policy's weights through a folder that it and this process see.

    Processes that share the folder hand the same weights over once. What the server holds is asked before and after
    each call, so that a completion of other weights is never taken for one of these.

    Args:
        url: of the server.
        weights_folder: where the weights are while they are handed over.
        dtype: of the server's weights and activations; ``auto``: that of the policy's weights.
        timeout: seconds until an answer is given up.
        max_batch: completions that are asked for at once; ``None``: all.
        logprobs_mode: that which a server would be started with.
    """

    url: str
    weights_folder: Path
    dtype: str
    timeout: float
    max_batch: int | None
    logprobs_mode: str = field(compare=False)
    _facts: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _start: str = field(default="", init=False, repr=False)

    @property
    def length(self) -> int:
        """The server's ``max_model_len``."""
        return int(self._facts["max_model_len"])

    @property
    def precision(self) -> torch.dtype:
        """That of weights and activations at the server."""
        found: torch.dtype = getattr(torch, self._facts["dtype"])
        return found

    @property
    def gives(self) -> str:
        """The server's mode of log-probabilities."""
        return str(self._facts["logprobs_mode"])

    @property
    def start(self) -> str:
        """The line that starts a server as this engine needs it, for the policy that was loaded last."""
        return self._start

    def load(self, model: Any) -> None:
        """Ask the server what it runs, and hand it the weights of ``model`` if it has others.

        Args:
            model: the policy, wrappers such as DDP taken off.

        Raises:
            RuntimeError: there is no server, or one without what is needed, or it does not take the weights.
            ValueError: it runs another model, or in another precision.
            FloatingPointError: a weight is NaN or infinite.
        """
        inner = base_model(model)
        self._start = self._line(inner)
        weights = checkpoint_weights(model)
        name = hashlib.sha256(repr(fingerprint(weights)).encode()).hexdigest()[:32]
        self._check_model(self._ask_facts(), inner)
        with self._named("failed while it was handed the policy's weights"), self._alone():
            # Read again: another process of the run may just have handed over the same weights.
            if self._ask_facts()["policy"] != name:
                check_finite(weights)
                self._push(weights, name)
                self._checked = False
            elif self._client.ask("/is_paused")["is_paused"]:
                self._client.ask("/resume", {})  # Whoever paused it ended before it could.
            facts = self._ask_facts()
        if self._facts.get("policy") != facts["policy"]:
            self._checked = False
        self._facts = facts

    def answer(self, prompt_ids: Sequence[Sequence[int]], parameters: Sequence[Mapping[str, Any]]) -> Completions:
        """Completions of each prompt, asked for at once, none from what is cached of another prompt or call."""
        samples = max(each["n"] for each in parameters)
        if samples > (most := self._facts["max_num_seqs"]):
            raise ValueError(
                f"group_size: got {samples}, the server at {self.url} samples at most {most} completions of a prompt; "
                f"start it with --max-num-seqs {samples}"
            )
        # A prompt that is in the cache would be read in other pieces, whose sums round otherwise.
        payloads = [
            {"token_ids": list(ids), "sampling_params": dict(each), "cache_salt": uuid.uuid4().hex}
            for ids, each in zip(prompt_ids, parameters, strict=True)
        ]
        at_once = len(payloads) if self.max_batch is None else max(1, self.max_batch // samples)
        with self._named("failed while sampling"):
            found = self._client.generate(payloads, at_once)
            after = self._ask_facts()
        if any(after[each] != self._facts[each] for each in ("policy", "loads")):
            self.close()
            raise RuntimeError(
                f"the vLLM server at {self.url} was handed other weights while it sampled; give each run a server of "
                "its own (--sampler.url)"
            )
        return [[_read(choice) for choice in sorted(choices, key=lambda each: each["index"])] for choices in found]

    def close(self) -> None:
        """Forget what the server is believed to hold; the server goes on."""
        self._facts, self._checked = {}, False

    @property
    def _client(self) -> Client:
        return Client(self.url, self.timeout)

    def _line(self, model: Any) -> str:
        """The line that starts a server for this model."""
        dtype = str(model.dtype).removeprefix("torch.") if self.dtype == "auto" else self.dtype
        return (
            f"VLLM_SERVER_DEV_MODE=1 vllm serve {model.config._name_or_path or 'MODEL'} --port "
            f"{urlsplit(self.url).port or 80} --tokens-only --worker-extension-cls {EXTENSION} --dtype {dtype} "
            f"--logprobs-mode {self.logprobs_mode}"
        )

    def _ask_facts(self) -> dict[str, Any]:
        """What the server runs and holds.

        Raises:
            RuntimeError: there is none, or it was started without what is needed; with the line that starts one.
        """
        try:
            found = self._client.workers("policy_facts")
        except UnreachableError as error:
            raise RuntimeError(
                f"url: no vLLM server answers at {self.url} ({error}); start it: {self._start}"
            ) from error
        except RefusedError as error:
            if error.status in (404, 405):
                cause = "is none of vLLM, or one without its development mode, which takes weights"
            elif "policy_facts" in error.told:
                cause = f"was started without --worker-extension-cls {EXTENSION}"
            else:
                cause = f"has failed: {error.told}"
            raise RuntimeError(f"url: the server at {self.url} {cause}; start it: {self._start}") from error
        facts: dict[str, Any] = found[0]
        if any(each != facts for each in found):  # Workers of which some did not load what others did.
            facts["policy"] = ""
        return facts

    def _check_model(self, facts: Mapping[str, Any], model: Any) -> None:
        """Raise for a server of another model, or in another precision."""
        config = model.config.get_text_config()
        for name in SHAPE:
            theirs, own = facts["shape"][name], getattr(config, name, None)
            if None not in (theirs, own) and theirs != own:
                raise ValueError(
                    f"url: the model of the server at {self.url} has {name} {theirs}, the policy {own}; start it with "
                    f"the policy's: {self._start}"
                )
        dtype = str(model.dtype).removeprefix("torch.") if self.dtype == "auto" else self.dtype
        if facts["dtype"] != dtype:
            raise ValueError(
                f"dtype: the server at {self.url} computes in {facts['dtype']}, want {dtype}; start it with --dtype "
                f"{dtype}, or say dtype {facts['dtype']} here"
            )

    def _push(self, weights: Mapping[str, torch.Tensor], name: str) -> None:
        """Hand weights over, while the server samples nothing."""
        with written(weights, self.weights_folder.absolute() / f"{name}.safetensors") as path:
            self._client.ask("/pause", {}, long=True, mode="wait")
            try:
                self._client.workers("load_policy", str(path), name)
            except RefusedError as error:
                if NOT_THERE in error.told:
                    raise RuntimeError(
                        f"weights_folder: the server at {self.url} does not see {path.parent}; name a folder that it "
                        "and this process see"
                    ) from error
                raise
            finally:
                self._client.ask("/resume", {})

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time of those that share the folder and the server."""
        try:
            self.weights_folder.mkdir(parents=True, exist_ok=True)
            lock = (self.weights_folder / f"{hashlib.sha256(self.url.encode()).hexdigest()[:16]}.lock").open("a")
        except OSError as error:
            raise ValueError(
                f"weights_folder: {self.weights_folder} cannot be used ({error.strerror}); name a folder that can be "
                "written"
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        """An error of the server in one line; whatever ends the block early, what the server holds is asked anew."""
        try:
            yield
        except BaseException as error:
            self.close()
            if isinstance(error, UnreachableError):
                raise RuntimeError(
                    f"the vLLM server at {self.url} {what}: {error}; when it runs again, go on from the last "
                    f"checkpoint (--resume): {self._start}"
                ) from error
            if isinstance(error, RefusedError):
                raise RuntimeError(f"the vLLM server at {self.url} {what}: {error} (its log says more)") from error
            raise


def _read(choice: Mapping[str, Any]) -> tuple[list[int], list[float]]:
    """Tokens and log-probabilities of a completion as the server writes it."""
    if choice["finish_reason"] not in ("stop", "length"):
        raise RuntimeError(f"vLLM: a completion ended with {choice['finish_reason']!r}; who else uses the server?")
    content = choice["logprobs"]["content"]
    values = [each["logprob"] if each["logprob"] > _NOT_FINITE else float("nan") for each in content]
    return [each["token_id"] for each in content], values

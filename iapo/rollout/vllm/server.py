"""An engine of vLLM that is a server, on this machine or another, and reads the policy's weights from a folder."""

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
from iapo.rollout.vllm.client import Client, RefusedError, UnknownAnswerError, UnreachableError, member
from iapo.rollout.vllm.engine import Completions, Engine, check_finite_weights, named_dtype
from iapo.rollout.vllm.handover import locked_file, written
from iapo.rollout.vllm.worker import EXTENSION, FACTS, NOT_THERE, SHAPE

_NOT_FINITE = -9999.0
"""What vLLM's server writes for a log-probability that is NaN or beyond."""

_UNKNOWN = "is none of vLLM, or of another version"


@dataclass(eq=False)
class ServerEngine(Engine):
    """A vLLM server, which is handed the policy's weights through a folder that it and this process see.

    Processes that share the folder hand the same weights over once. What the server holds is asked before and after
    each call, so that a completion of other weights is never taken for one of these.

    Args:
        url: of the server.
        weights_folder: where the weights are while they are handed over.
        dtype: of the server's weights and activations; ``auto``: that of the policy's weights.
        timeout: seconds until an answer to a request for completions, or to a handover, is given up.
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

    def load(self, model: Any) -> None:
        """Ask the server what it runs, and hand it the weights of ``model`` if it has others.

        Args:
            model: the policy, wrappers such as DDP taken off.

        Raises:
            RuntimeError: there is no server, or one without what is needed, or it does not take the weights.
            ValueError: it runs another model, or in another precision.
            FloatingPointError: a weight is NaN or infinite.
            OSError: the weights cannot be written.
        """
        inner = base_model(model)
        self._start = self._line(inner)
        weights = checkpoint_weights(model)
        name = hashlib.sha256(repr(fingerprint(weights)).encode()).hexdigest()[:32]
        # Asked when nobody else hands weights over: a worker that loads some answers late, and may have these then.
        with self._named("failed while it was handed the policy's weights"), self._alone():
            facts = self._first_facts()
            self._check_model(facts, inner)
            if facts["policy"] != name:
                check_finite_weights(weights)
                self._push(weights, name)
                self._checked = False
            elif member(self._client.ask("/is_paused"), "is_paused"):
                self._client.ask("/resume", {})  # Whoever paused it ended before it could.
            facts = self._ask_facts()
        if self._facts.get("policy") != facts["policy"]:
            self._checked = False
        self._facts = facts

    def answer(self, prompt_ids: Sequence[Sequence[int]], parameters: Sequence[Mapping[str, Any]]) -> Completions:
        """Completions of each prompt, asked for at once, none from what is cached of another prompt or call."""
        samples = max(each["n"] for each in parameters)
        most = len(prompt_ids) * samples if self.max_batch is None else self.max_batch
        size = min(samples, most)
        if size > (bound := self._facts["max_num_seqs"]):
            raise ValueError(
                f"group_size: got {samples}, the server at {self.url} samples at most {bound} completions of a prompt; "
                f"start it with --max-num-seqs {samples}, or ask for fewer at once (max_batch {bound})"
            )
        starts = range(0, samples, size)
        payloads = []
        for ids, each in zip(prompt_ids, parameters, strict=True):
            # A prompt that is in the cache would be read in other pieces, whose sums round otherwise.
            salt = uuid.uuid4().hex
            for start in starts:
                part = dict(each) | {"n": min(size, samples - start)}
                if each["seed"] is not None:
                    part["seed"] = each["seed"] + start  # vLLM adds a completion's index to it
                payloads.append({"token_ids": list(ids), "sampling_params": part, "cache_salt": salt})
        with self._named("failed while sampling"):
            found = self._client.generate(payloads, most // size)
            after = self._ask_facts()
            if any(after[each] != self._facts[each] for each in ("policy", "loads")):
                raise RuntimeError(
                    f"the vLLM server at {self.url} was handed other weights while it sampled; give each run a server "
                    "of its own (--sampler.url)"
                )
            parts = [_read(choices) for choices in found]
        groups = [parts[first : first + len(starts)] for first in range(0, len(parts), len(starts))]
        return [[row for part in group for row in part] for group in groups]

    def close(self) -> None:
        """Forget what the server is believed to hold; the server goes on."""
        self._facts, self._checked = {}, False

    @property
    def _key(self) -> str:
        """The name of what is this server's in the folder, which other servers may share."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]

    @property
    def _client(self) -> Client:
        return Client(self.url, self.timeout)

    def _line(self, model: Any) -> str:
        """The line that starts a server for this model."""
        dtype = named_dtype(self.dtype, model)
        return (
            f"VLLM_SERVER_DEV_MODE=1 vllm serve {model.config._name_or_path or 'MODEL'} --port "
            f"{urlsplit(self.url).port or 80} --tokens-only --worker-extension-cls {EXTENSION} --dtype {dtype} "
            f"--logprobs-mode {self.logprobs_mode}"
        )

    def _first_facts(self) -> dict[str, Any]:
        """What the server runs and holds, asked before anything else of a call.

        Raises:
            RuntimeError: there is none, or it was started without what is needed; with the line that starts one.
        """
        try:
            return self._ask_facts()
        except UnreachableError as error:
            then = " (and go on from the last checkpoint with --resume)" if self._facts else ""  # it was there before
            raise RuntimeError(
                f"url: no vLLM server answers at {self.url} ({error}); start it{then}: {self._start}"
            ) from error
        except UnknownAnswerError as error:
            raise RuntimeError(
                f"url: the server at {self.url} {_UNKNOWN} ({error}); start it: {self._start}"
            ) from error
        except RefusedError as error:
            if error.status in (404, 405):
                cause = "is none of vLLM, or one without its development mode, which takes weights"
            elif "policy_facts" in error.told:
                cause = f"was started without --worker-extension-cls {EXTENSION}"
            else:
                cause = f"has failed: {error.told}"
            raise RuntimeError(f"url: the server at {self.url} {cause}; start it: {self._start}") from error

    def _ask_facts(self) -> dict[str, Any]:
        """What the server runs and holds; all errors are the client's."""
        found = self._client.workers("policy_facts")
        for each in found:
            for name in FACTS:
                member(each, name)
            for name in SHAPE:
                member(each["shape"], name)
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
        dtype = named_dtype(self.dtype, model)
        if facts["dtype"] != dtype:
            raise ValueError(
                f"dtype: the server at {self.url} computes in {facts['dtype']}, want {dtype}; start it with --dtype "
                f"{dtype}, or say dtype {facts['dtype']} here"
            )

    def _push(self, weights: Mapping[str, torch.Tensor], name: str) -> None:
        """Hand weights over, while the server samples nothing."""
        remedy = "make room, or name another folder with --sampler.weights_folder; then go on with --resume"
        with written(weights, self.weights_folder.absolute() / self._key, remedy) as path:
            self._client.ask("/pause", {}, long=True, mode="wait")
            try:
                self._client.workers("load_policy", str(path), name, long=True)
            except RefusedError as error:
                if NOT_THERE in error.told:
                    raise RuntimeError(
                        f"weights_folder: the server at {self.url} does not see {self.weights_folder.absolute()}; name "
                        "a folder that it and this process see"
                    ) from error
                raise
            finally:
                self._client.ask("/resume", {})

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time of those that share the folder and the server."""
        try:
            self.weights_folder.mkdir(parents=True, exist_ok=True)
            lock = locked_file(self.weights_folder / f"{self._key}.lock")
        except OSError as error:
            raise ValueError(
                f"weights_folder: {self.weights_folder} cannot be used ({error.strerror}); name a folder that can be "
                "written, on a file system that has locks"
            ) from error
        with lock:
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
            if isinstance(error, UnknownAnswerError):
                raise RuntimeError(
                    f"the server at {self.url} {what}: it {_UNKNOWN} ({error}); start it: {self._start}"
                ) from error
            raise


def _read(choices: Any) -> list[tuple[list[int], list[float]]]:
    """Tokens and log-probabilities of a request's completions as the server writes them."""
    found = []
    try:
        for choice in sorted(choices, key=lambda each: each["index"]):
            if choice["finish_reason"] not in ("stop", "length"):
                raise RuntimeError(
                    f"vLLM: a completion ended with {choice['finish_reason']!r}; who else uses the server?"
                )
            content = choice["logprobs"]["content"]
            values = [each["logprob"] if each["logprob"] > _NOT_FINITE else float("nan") for each in content]
            found.append(([each["token_id"] for each in content], values))
    except (KeyError, TypeError) as error:
        raise UnknownAnswerError("its completions are not as vLLM writes them") from error
    return found

"""Samples from a language model with a vLLM server, which is handed the policy's weights when they changed."""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from iapo.ops.checks import check_choice, check_number
from iapo.ops.extras import check_installed
from iapo.rollout.vllm.engine import Engine, Precision
from iapo.rollout.vllm.sampling import EngineSampler, right_modes
from iapo.rollout.vllm.server import ServerEngine


@dataclass(frozen=True, eq=False)
class VLLMServerSampler(EngineSampler):
    """Samples from a causal language model with a vLLM server, on this machine or another; any number of processes.

    The server is one of vLLM's own, started with the policy's model, in development mode, and with the library's
    `iapo.rollout.vllm.PolicyWorker` (the errors of this class give the line). Before each call it is handed the
    policy's weights if it has others, whoever handed them over before; adapters of PEFT are merged into them. That is
    done by a file that is gone afterwards, or, if the run is killed meanwhile, when weights are handed to the same
    ``url`` again. Whenever it was done, what the server says of a short completion is compared with what the model says
    of it, and a difference beyond rounding is refused, as by `VLLMSampler`.

    All requests of a call are made at once, or as many as have ``max_batch`` completions; a larger group is asked for
    in parts, and gets the same completions. Several processes that train together each ask for the completions of their
    prompts; the first that finds other weights at the server hands them over.

    *Randomness.* As of `VLLMSampler`: each prompt has a seed of torch's global generator of the CPU. A resumed run
    repeats its completions bit for bit where the server's arithmetic does not depend on which requests it computes
    together: on a CPU in fp32, and on GPUs of which vLLM says so with ``VLLM_BATCH_INVARIANT=1``.

    *Log-probabilities.* Those of `VLLMSampler`. With ``top_p`` below 1 at a temperature other than 1 and 0 there are
    none; where a server in another mode (``--logprobs-mode``) would give them, this one is refused.

    Args:
        url: of the server.
        weights_folder: where the weights are while they are handed over; the server and all processes must see it under
            this name. ``None``: one in the folder for temporary files, for a server on this machine.
        dtype: of the server's weights and activations; ``auto``: that of the policy's weights. A server of another is
            refused.
        timeout: seconds that a request for the completions of a prompt, or a handover of weights, may take before the
            server is given up.
        engine: that of another sampler with the same settings of the server, which is then used together; ``None``: one
            of its own. ``dataclasses.replace`` hands it on.

    Raises:
        ModuleNotFoundError: requests is not installed.
        ValueError: a number outside its range, or an address that is none; on a call, a server of another model or
            precision, a prompt that does not fit with ``max_new_tokens``, or that has no token or an unknown one.
        iapo.policy.forward.UnsupportedModelError: on a call, a model not causal, or one that vLLM computes otherwise.
        RuntimeError: on a call, no server, one that lacks what is needed or fails, or one that others hand weights to.
        FloatingPointError: on a call, weights or logits that are NaN or infinite.
        OSError: on a call, the weights cannot be written.
    """

    url: str = "http://localhost:8000"
    weights_folder: str | None = None
    dtype: Precision = "auto"
    timeout: float = 1800.0
    engine: ServerEngine | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_installed("requests", "server")
        if not _is_address(self.url):
            raise ValueError(f"url: got {self.url!r}, want one such as http://localhost:8000")
        check_choice("dtype", self.dtype, Precision)
        check_number("timeout", self.timeout, "a positive number of seconds", lambda x: x > 0)
        usual = Path(tempfile.gettempdir()) / f"iapo-weights-{os.getuid()}"
        modes = right_modes(self.temperature, self.top_p) or ("processed_logprobs",)
        self._take(
            ServerEngine(
                url=self.url.rstrip("/"),
                weights_folder=usual if self.weights_folder is None else Path(self.weights_folder),
                dtype=self.dtype,
                timeout=self.timeout,
                max_batch=self.max_batch,
                logprobs_mode=modes[0],
            )
        )

    def check_engine(self, engine: Engine) -> None:
        """Refuse a server whose log-probabilities are others, where one in another mode would give the right ones."""
        if modes := self._better_modes(engine):
            raise ValueError(
                f"url: the server at {self.url} gives {engine.gives}, want {' or '.join(modes)} at temperature "
                f"{self.temperature} and top_p {self.top_p}; start it with --logprobs-mode {modes[0]}"
            )


def _is_address(url: str) -> bool:
    """Whether a server may be at an address."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets of an IPv6 address, or a port, that are none
        return False

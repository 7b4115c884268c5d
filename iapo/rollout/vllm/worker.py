"""What a worker of a vLLM server does for a policy: it loads weights from a file, and says what it runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

EXTENSION = "iapo.rollout.vllm.PolicyWorker"
"""Where vLLM finds `PolicyWorker`."""

NOT_THERE = "the file of the policy's weights is not there"
"""What a worker says of a file that it does not see; vLLM leaves the path out of what it passes on."""

SHAPE = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
    *("num_attention_heads", "num_key_value_heads", "head_dim", "tie_word_embeddings"),
)
"""Fields of a model's configuration in which the server's and the policy's must agree."""


FACTS = ("dtype", "max_model_len", "logprobs_mode", "max_num_seqs", "shape", "policy", "loads")
"""What a worker says of itself, by name."""


class PolicyWorker:
    """What ``--worker-extension-cls iapo.rollout.vllm.PolicyWorker`` adds to each worker of a vLLM server.

    vLLM makes it a base class of its workers, and calls its methods for requests of ``/collective_rpc``.
    """

    _policy_name = ""
    _policy_loads = 0

    def policy_facts(self) -> dict[str, Any]:
        """What the server runs, and the weights that it has: their name, and how many times some were loaded."""
        config: Any = self.model_config  # type: ignore[attr-defined]
        text = config.hf_text_config
        return {
            "dtype": str(config.dtype).removeprefix("torch."),
            "max_model_len": config.max_model_len,
            "logprobs_mode": str(config.logprobs_mode),
            "max_num_seqs": self.vllm_config.scheduler_config.max_num_seqs,  # type: ignore[attr-defined]
            "shape": {name: getattr(text, name, None) for name in SHAPE},
            "policy": self._policy_name,
            "loads": self._policy_loads,
        }

    def load_policy(self, path: str, name: str) -> None:
        """Load weights from a safetensors file; until all are, the server has weights without a name.

        Args:
            path: of the file, which this worker must see.
            name: of these weights.

        Raises:
            FileNotFoundError: the worker does not see the file.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"{NOT_THERE}: {path}")
        self._policy_name, self._policy_loads = "", self._policy_loads + 1
        self.reload_weights(weights_iterator=_weights(path))  # type: ignore[attr-defined]
        process_heads(self.get_model())  # type: ignore[attr-defined]
        self._policy_name = name


def process_heads(model: Any) -> None:
    """Prepare the heads of a vLLM model once more, after weights were loaded.

    A head that is tied to the embeddings loads nothing itself, and on a CPU it would keep a packed copy of the weights
    before.
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for module in model.modules():
        if isinstance(module, ParallelLMHead):
            module.quant_method.process_weights_after_loading(module)


def _weights(path: str) -> Iterator[tuple[str, Tensor]]:
    """The weights of a file by name, one after the other."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118, as the file is no mapping
            yield name, file.get_tensor(name)

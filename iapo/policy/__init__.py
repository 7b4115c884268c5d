"""What handles a language model: loading, forward passes, log-probabilities."""

from iapo.policy.forward import UnsupportedModelError
from iapo.policy.loading import load_model, load_tokenizer
from iapo.policy.logprobs import completion_logprobs, entropy, token_logprobs

__all__ = [
    "UnsupportedModelError",
    "completion_logprobs",
    "entropy",
    "load_model",
    "load_tokenizer",
    "token_logprobs",
]

"""What a token of the reasoning is to the answer, by one gradient (OAR-G)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iapo.estimators.forced_text import ForcedText, Measure, answer_change, answer_logits, forced_texts, idle_text
from iapo.interfaces import MIEstimator
from iapo.ops.checks import check_choice, check_integer, check_integers, check_number
from iapo.policy.forward import UnsupportedModelError, inference_mode, unwrap
from iapo.policy.logprobs import check_temperature
from iapo.policy.ranks import all_reduce_max
from iapo.types import Rollout


@dataclass(frozen=True)
class OARGradient(MIEstimator):
    """OAR-G: ``I_t = |<dJ/de_t, e_t>|``, with ``J = KL(p(y | q, e) || p(y | q, e + noise))``.

    ``e_t`` is the input embedding of reasoning token ``t``; noise of standard deviation ``noise`` is added to the
    embeddings of all reasoning tokens. At the text itself the divergence is 0 and so is its gradient, hence the
    noise. The answer ``y`` is ``rollout.answer_ids``, read behind the completion's reasoning and a postfix that opens
    it. The divergence is the mean over the answer's tokens; with ``measure="likelihood"``, ``J`` is the fall of the
    answer's log-likelihood instead, whose gradient hardly depends on the noise.

    *What it estimates.* To first order, how far ``J`` moves when the token's embedding is scaled: a cheap stand-in for
    `OARPerturbation`, in units of nats. It does not telescope: `probe` is the running sum of the importances, whose
    differences they are.

    *Bias.* With ``"kl"`` it is proportional to the noise, and depends on its draw: only the order of tokens within a
    completion means something. Every completion gets the same noise, token by token, so that values do not depend on
    the batch and repeat with ``seed``; torch's own generators are not used.

    *Against the released code.* There the KL mode averages the logits over the answer's tokens first, and the
    likelihood is a mean over them; the call of its gradient path does not run as it was released.

    *Degenerate cases.* A row without an answer, or an empty reasoning span, gives 0. With ``noise=0`` and ``"kl"`` all
    importances are 0 up to rounding.

    *Cost.* Two forwards and one backward over each completion's text, which hold its activations. No gradient stays
    on the model's weights. The backward has not been run under FSDP.

    Args:
        postfix_ids: tokens that close the reasoning and open the answer, ``</think><answer>`` in the format used, for
            rollouts without ``exit_ids``.
        measure: ``"kl"`` or ``"likelihood"``.
        noise: standard deviation; 1e-3 in the released code.
        seed: of the noise, at least 0.
        temperature: logits are divided by it; use the sampler's.

    Raises:
        ValueError: empty or negative ids, an unknown ``measure``, ``noise`` negative or not finite, a ``seed`` below 0,
            ``temperature`` not positive and finite; on a call, a rollout without ``answer_ids``, or a token that the
            model does not have.
        iapo.policy.forward.UnsupportedModelError: on a call, for a model that is not causal, whose rotations change
            within the text (`iapo.policy.support`), or that does not call its embedding layer.

    References:
        Outcome-grounded advantage reshaping, arXiv 2601.07408, OAR-G.
    """

    postfix_ids: tuple[int, ...]
    measure: Measure = "kl"
    noise: float = 1e-3
    seed: int = 0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_integers("postfix_ids", self.postfix_ids, least=0)
        check_choice("measure", self.measure, Measure)
        check_number("noise", self.noise, "a finite number of at least 0", lambda x: x >= 0)
        check_integer("seed", self.seed, least=0)
        check_temperature(self.temperature)

    @property
    def probe_label(self) -> str:
        """A running sum of importance, which has no unit of information."""
        return "sum of importance for the answer"

    def probe(self, model: nn.Module, rollout: Rollout) -> Float[Tensor, "batch probe"]:
        """The running sum, in float64, of the importance of the tokens before each position."""
        texts, idle = forced_texts("OARGradient", model, rollout, self.postfix_ids), idle_text(rollout)
        importance = torch.zeros(rollout.completion_ids.shape, dtype=torch.float64, device=idle.ids.device)
        with inference_mode(model):
            for text in texts:
                importance[text.row, text.tokens] = self._saliency(model, text)
            for _ in range(all_reduce_max(len(texts), model) - len(texts)):
                self._saliency(model, idle)
        return nn.functional.pad(importance.cumsum(1), (1, 0))

    def _saliency(self, model: nn.Module, text: ForcedText) -> Float[Tensor, " reasoning"]:
        """``|<dJ/de_t, e_t>|`` of each reasoning token."""
        ids = text.ids[None]
        before = answer_logits(model, ids, text.answer, self.temperature)[0]
        with torch.enable_grad(), noisy_embeddings(model, text.places, self.noise, self.seed) as seen:
            after = answer_logits(model, ids, text.answer, self.temperature)
            if not seen:
                raise UnsupportedModelError(
                    f"model: {type(unwrap(model)).__name__} did not call the embedding layer that "
                    "get_input_embeddings() gives, so that no gradient reaches the tokens; use OARPerturbation"
                )
            clean, noisy = seen[0]
            moved = answer_change(before, after, text.targets, self.measure).sum()
            gradient = torch.autograd.grad(moved, noisy)[0]
        return (gradient[0, text.places].double() * clean[0, text.places].double()).sum(-1).abs()


@contextmanager
def noisy_embeddings(
    model: nn.Module, places: Tensor, noise: float, seed: int
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Inside, forwards add noise to the embeddings at ``places``, and start a gradient's graph at the result.

    Args:
        model: a language model, possibly wrapped; a text of one row is expected.
        places: positions in the text.
        noise: standard deviation.
        seed: of a generator of its own.

    Yields:
        A list, to which each forward adds the embeddings without and with noise.
    """
    seen: list[tuple[Tensor, Tensor]] = []

    def add(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        clean = output.detach()
        generator = torch.Generator().manual_seed(seed)
        added = noise * torch.randn(len(places), clean.shape[-1], generator=generator, dtype=torch.float32)
        noisy = clean.index_add(1, places, added.to(clean)[None]).requires_grad_()
        seen.append((clean, noisy))
        return noisy

    hook = unwrap(model).get_input_embeddings().register_forward_hook(add)
    try:
        yield seen
    finally:
        hook.remove()

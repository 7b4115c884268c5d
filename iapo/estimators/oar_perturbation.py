"""What replacing a token of the reasoning does to the answer (OAR-P)."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iapo.estimators.forced_text import ForcedText, Measure, answer_change, answer_logits, forced_texts, idle_text
from iapo.estimators.packed import MAX_LOGITS, check_chunk, check_vocabulary, run_in_chunks
from iapo.interfaces import MIEstimator
from iapo.ops.checks import check_choice, check_integer, check_integers
from iapo.policy.forward import inference_mode, text_config
from iapo.policy.logprobs import check_temperature
from iapo.policy.ranks import all_reduce_max
from iapo.types import Rollout


@dataclass(frozen=True)
class OARPerturbation(MIEstimator):
    """OAR-P: ``I_t = KL(p(y | q, o) || p(y | q, o with o_t replaced))``, how much the answer rests on token ``t``.

    The answer ``y`` is ``rollout.answer_ids``, read behind the completion's reasoning and a postfix that opens it. The
    divergence is the mean over the answer's tokens; with ``measure="likelihood"`` it is the fall of the answer's
    log-likelihood instead.

    *What it estimates.* Not information that a token adds to what came before, but the influence of one token on the
    answer while all the others, later ones too, stay as they are: it does not telescope. The sum over a completion
    means nothing by itself, and `probe` is the running sum, whose differences are the importances.

    *Bias.* Where a result is written twice, the copy that the policy reads has the importance, be it the first one or a
    repetition that could be left out. A replaced token makes a text that the model has never seen, which by itself
    moves the answer.

    *Against the released code.* There the KL mode averages the logits over the answer's tokens first, or takes the
    distribution at one position; here each token of the answer has its own divergence.

    *Degenerate cases.* A row without an answer, or an empty reasoning span, gives 0; so does a token that is the
    replacement itself.

    *Cost.* For each reasoning token a forward over the whole text, in batches of copies of one completion.

    Args:
        postfix_ids: tokens that close the reasoning and open the answer, ``</think><answer>`` in the format used, for
            rollouts without ``exit_ids``.
        replacement_id: the token that stands in the place of the one that is left out; the padding token in the paper.
        measure: ``"kl"`` or ``"likelihood"``.
        chunk: copies per forward; ``None``: what 256 MiB of logits in fp32 hold, at most 64. It is halved where
            that was too much for the memory there is.
        temperature: logits are divided by it; use the sampler's.

    Raises:
        ValueError: empty or negative ids, an unknown ``measure``, ``chunk`` below 1, ``temperature`` not positive and
            finite; on a call, a rollout without ``answer_ids``, or a token that the model does not have.
        iapo.policy.forward.UnsupportedModelError: on a call, for a model that is not causal, or whose rotations change
            within the text (`iapo.policy.support`).

    References:
        Outcome-grounded advantage reshaping, arXiv 2601.07408, OAR-P.
    """

    postfix_ids: tuple[int, ...]
    replacement_id: int
    measure: Measure = "kl"
    chunk: int | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_integers("postfix_ids", self.postfix_ids, least=0)
        check_integer("replacement_id", self.replacement_id, least=0)
        check_choice("measure", self.measure, Measure)
        check_chunk(self.chunk)
        check_temperature(self.temperature)

    @property
    def probe_label(self) -> str:
        """A running sum of importance, which has no unit of information."""
        return "sum of importance for the answer"

    def probe(self, model: nn.Module, rollout: Rollout) -> Float[Tensor, "batch probe"]:
        """The running sum, in float64, of the importance of the tokens before each position."""
        check_vocabulary(model, replacement_id=(self.replacement_id,))
        texts = forced_texts("OARPerturbation", model, rollout, self.postfix_ids)
        work = [(text, some) for text in texts for some in text.places.split(self._copies(model, text))]
        idle = idle_text(rollout)
        importance = torch.zeros(rollout.completion_ids.shape, dtype=torch.float64, device=idle.ids.device)
        with inference_mode(model):
            for text, places in work:
                importance[text.row, text.tokens[torch.isin(text.places, places)]] = run_in_chunks(
                    model, partial(self._moved_by, model, text, places), len(places)
                )
            for _ in range(all_reduce_max(len(work), model) - len(work)):
                self._moved(model, idle, idle.places)
        return nn.functional.pad(importance.cumsum(1), (1, 0))

    def _moved_by(self, model: nn.Module, text: ForcedText, places: Tensor, size: int) -> Float[Tensor, " place"]:
        """`_moved` of ``size`` places at a time."""
        return torch.cat([self._moved(model, text, some) for some in places.split(size)])

    def _moved(self, model: nn.Module, text: ForcedText, places: Tensor) -> Float[Tensor, " place"]:
        """How far the answer moves when the token at each of ``places`` is replaced; the first copy is the text."""
        copies = text.ids.repeat(len(places) + 1, 1)
        copies[torch.arange(len(places), device=places.device) + 1, places] = self.replacement_id
        logits = answer_logits(model, copies, text.answer, self.temperature)
        return answer_change(logits[0], logits[1:], text.targets, self.measure).double()

    def _copies(self, model: nn.Module, text: ForcedText) -> int:
        vocab = text_config(model).vocab_size
        return self.chunk or max(1, min(64, MAX_LOGITS // ((text.answer + 1) * vocab) - 1))

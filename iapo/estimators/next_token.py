"""The ablation NE: the policy's own next-token entropy in place of the answer's."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iapo.estimators.packed import MAX_LOGITS, check_chunk, run_in_chunks
from iapo.interfaces import MIEstimator
from iapo.policy.forward import inference_mode, text_config
from iapo.policy.logprobs import check_prompts, check_temperature, entropy, texts_of
from iapo.policy.ranks import all_reduce_max
from iapo.policy.support import check_text
from iapo.types import Rollout


@dataclass(frozen=True)
class NextTokenEntropy(MIEstimator):
    """Reduction of the policy's next-token entropy: ``s_t = H(o_t | q, o_<t) - H(o_{t+1} | q, o_<=t)``, in nats.

    *What it estimates.* Not information about the answer: the ablation IAPO-NE, to be compared with estimators that do.
    Works with any causal language model whose positions start at 0, recurrent ones included: texts are aligned at their
    first token, so that padding comes behind them and none reaches a model's state.

    *Bias.* As a measure of information about the answer, of no one direction: a choice between wordings counts as much
    as one between answers.

    *Degenerate cases.* An empty reasoning span gives 0.

    Args:
        chunk: prefixes per forward, which bounds the logits held at once; ``None``: what 256 MiB hold in fp32. Where
            one completion has more, each further forward reads it again, up to where its prefixes end. It is halved
            where that was too much for the memory there is.
        temperature: logits are divided by it; use the sampler's.

    Raises:
        ValueError: ``chunk`` below 1, ``temperature`` not positive and finite; on a call, a row without a prompt token.
        iapo.policy.forward.UnsupportedModelError: on a call, for a model that is not causal, whose positions start at
            an offset, or whose rotations change within the texts (`iapo.policy.support`).

    References:
        IAPO, arXiv 2602.19049, ablation without the answer entropy (NE).
    """

    chunk: int | None = None
    temperature: float = 1.0
    information_sign = -1
    reads_answer = False

    def __post_init__(self) -> None:
        check_chunk(self.chunk)
        check_temperature(self.temperature)

    @property
    def probe_label(self) -> str:
        """An entropy of the next token, not of the answer."""
        return "H(next token | prefix), nats"

    def probe(self, model: nn.Module, rollout: Rollout) -> Float[Tensor, "batch probe"]:
        """Entropy of the next token after each prefix, nats; entry 0 is that of the first completion token."""
        check_prompts(rollout)
        ids, _ = texts_of(rollout)
        prompt, probes = rollout.prompt_ids.shape[1], rollout.completion_ids.shape[1] + 1
        padding = prompt - rollout.prompt_mask.sum(1)
        lengths = rollout.prompt_mask.sum(1) + rollout.completion_mask.sum(1)
        check_text(model, torch.arange(ids.shape[1], device=ids.device) < lengths[:, None])
        order = torch.arange(ids.shape[1], device=ids.device) + padding[:, None]
        ids = ids.gather(1, order.clamp(max=ids.shape[1] - 1))
        uneven = int(padding.max() - padding.min()) if len(ids) else 0
        one = probes + uneven
        most = self.chunk or MAX_LOGITS // text_config(model).vocab_size
        dtype = torch.promote_types(next(model.parameters()).dtype, torch.float32)

        def run(most: int) -> Tensor:
            rows, width = max(1, most // one), min(most, probes)
            values = torch.zeros(len(ids), probes, device=ids.device, dtype=dtype)
            parts = [(row, start) for row in range(0, len(ids), rows) for start in range(0, probes, width)]
            for row, start in [*parts, *parts[-1:] * (all_reduce_max(len(parts), model) - len(parts))]:
                stop = min(start + width, probes)
                some = slice(row, row + rows)
                least, spread = int(padding[some].min()), int(padding[some].max() - padding[some].min())
                length, kept = prompt - least + stop - 1, stop - start + spread
                output = model(
                    input_ids=ids[some, :length],
                    position_ids=torch.arange(length, device=ids.device).expand(len(ids[some]), -1),
                    use_cache=False,
                    logits_to_keep=kept,
                )
                # What is wanted of a shorter prompt stands as much further to the left.
                columns = torch.arange(stop - start, device=ids.device) + spread + least - padding[some, None]
                values[some, start:stop] = (
                    entropy(output.logits[:, -kept:], self.temperature).gather(1, columns).to(dtype)
                )
            return values

        with inference_mode(model):
            return run_in_chunks(model, run, max(1, min(most, len(ids) * one)))

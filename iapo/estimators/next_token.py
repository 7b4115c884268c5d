"""The ablation NE: the policy's own next-token entropy in place of the answer's."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iapo.estimators.blocks import check_chunk
from iapo.estimators.memory import LOGITS
from iapo.estimators.ranks import most
from iapo.forward import positions, scoring, unwrap
from iapo.interfaces import MIEstimator
from iapo.logprobs import entropy
from iapo.types import Rollout


@dataclass(frozen=True)
class NextTokenEntropy(MIEstimator):
    """Reduction of the policy's next-token entropy: ``s_t = H(o_t | q, o_<t) - H(o_{t+1} | q, o_<=t)``, in nats.

    *What it estimates.* Not information about the answer: the ablation IAPO-NE, to be compared with estimators that do.
    Works with any causal language model, recurrent ones included.

    *Degenerate cases.* An empty reasoning span gives 0.

    Args:
        chunk: prefixes per forward, which bounds the logits held at once; ``None``: what 256 MiB hold in fp32. Where
            one completion has more, each further forward reads it again, up to where its prefixes end.

    Raises:
        ValueError: ``chunk`` below 1.

    References:
        IAPO, arXiv 2602.19049, ablation without the answer entropy (NE).
    """

    chunk: int | None = None
    information_sign = -1

    def __post_init__(self) -> None:
        check_chunk(self.chunk)

    def probe(self, model: nn.Module, rollout: Rollout) -> Float[Tensor, "batch probe"]:
        """Entropy of the next token after each prefix, nats; entry 0 is that of the first completion token."""
        ids = torch.cat([rollout.prompt_ids, rollout.completion_ids], 1)
        mask = torch.cat([rollout.prompt_mask, rollout.completion_mask], 1)
        prompt, probes = rollout.prompt_ids.shape[1], rollout.completion_ids.shape[1] + 1
        most_rows = self.chunk or max(1, LOGITS // unwrap(model).config.get_text_config().vocab_size)
        rows, width = max(1, most_rows // probes), min(most_rows, probes)
        dtype = torch.promote_types(next(model.parameters()).dtype, torch.float32)
        values = torch.zeros(len(ids), probes, device=ids.device, dtype=dtype)
        parts = [(row, start) for row in range(0, len(ids), rows) for start in range(0, probes, width)]
        with scoring(model):
            for row, start in [*parts, *parts[-1:] * (most(len(parts), model) - len(parts))]:
                stop = min(start + width, probes)
                seen = mask[row : row + rows, : prompt + stop - 1]
                output = model(
                    input_ids=ids[row : row + rows, : prompt + stop - 1],
                    attention_mask=seen.long(),
                    position_ids=positions(seen),
                    use_cache=False,
                    logits_to_keep=stop - start,
                )
                values[row : row + rows, start:stop] = entropy(output.logits).to(dtype)
        return values

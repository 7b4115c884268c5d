"""From a rollout and a tokenizer to a trace: the text of each token, and one row of the tensors."""

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from iapo.inspection.trace import CompletionTrace
from iapo.ops.shapes import shape_checked
from iapo.tokenization.decoding import decode_ids, token_pieces
from iapo.types import Rollout


@shape_checked
def trace_from_rollout(
    rollout: Rollout,
    row: int,
    tokenizer: PreTrainedTokenizerBase,
    information: Float[Tensor, "batch token"],
    probes: Float[Tensor, "batch probe"],
    probe_label: str,
    reward: float | None = None,
    policy_entropy: Float[Tensor, "batch token"] | None = None,
) -> CompletionTrace:
    """One completion of a rollout as a trace.

    Args:
        rollout: the completions.
        row: which of them.
        tokenizer: the tokenizer that the rollout's ids are from.
        information: what the estimator returned, nats.
        probes: what the estimator's ``probe`` returned, nats; ``probe = token + 1``.
        probe_label: what a probe is, with its unit: ``"H(answer | prefix), nats"``.
        reward: the completion's reward.
        policy_entropy: entropy of the policy's next-token distribution, nats.

    Returns:
        The trace, padding cut off, special tokens shown. Of a completion without an answer to ask about, in which the
        estimator found nothing, no token counts as measured: zeros would read as certainty.

    Raises:
        IndexError: ``row`` is not one of the rollout's.
        ValueError: tensors of another width than the rollout's, or not finite.
    """
    batch, width = rollout.completion_ids.shape
    if not 0 <= row < batch:
        raise IndexError(f"row: got {row}, want 0 to {batch - 1}")
    for name, got, want in (
        ("information", tuple(information.shape), (batch, width)),
        ("probes", tuple(probes.shape), (batch, width + 1)),
    ):
        if got != want:
            raise ValueError(f"{name}: got shape {got}, want {want}, from rollout.completion_ids")
    tokens = int(rollout.completion_mask[row].sum())
    unasked = rollout.answer_mask is not None and not bool(rollout.answer_mask[row].any())
    silent = unasked and not bool(information[row].any()) and not bool(probes[row].any())
    measured = rollout.reasoning_mask[row, :tokens] & (not silent)
    return CompletionTrace(
        prompt=decode_ids(tokenizer, rollout.prompt_ids[row, rollout.prompt_mask[row]].tolist()),
        pieces=token_pieces(tokenizer, rollout.completion_ids[row, :tokens].tolist()),
        information=tuple(information[row, :tokens].tolist()),
        probes=tuple(probes[row, : tokens + 1].tolist()),
        probe_label=probe_label,
        measured=tuple(measured.tolist()),
        reward=reward,
        answer=_answer(tokenizer, rollout, row),
        policy_entropy=None if policy_entropy is None else tuple(policy_entropy[row, :tokens].tolist()),
    )


def _answer(tokenizer: PreTrainedTokenizerBase, rollout: Rollout, row: int) -> str:
    """The text of the answer that is asked about; empty without one."""
    if rollout.answer_ids is None or rollout.answer_mask is None:
        return ""
    return decode_ids(tokenizer, rollout.answer_ids[row, rollout.answer_mask[row]].tolist())

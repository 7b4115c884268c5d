"""Texts that end in the answer an estimator asks about, one a row, and how far that answer's distribution moved."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from iapo.estimators.asked import asked_answers
from iapo.policy.logprobs import at_temperature
from iapo.policy.support import check_text
from iapo.types import Rollout

Measure = Literal["kl", "likelihood"]


@dataclass(frozen=True)
class ForcedText:
    """Prompt, completion up to the end of its reasoning, postfix and answer, without padding.

    Args:
        row: of the rollout.
        ids: of the whole text.
        tokens: the reasoning tokens by their positions in the completion.
        places: the same tokens by their positions in ``ids``.
        answer: tokens of the answer and of what ends it, the last of ``ids``; at least 1.
    """

    row: int
    ids: Int[Tensor, " width"]
    tokens: Int[Tensor, " reasoning"]
    places: Int[Tensor, " reasoning"]
    answer: int

    @property
    def targets(self) -> Int[Tensor, " answer"]:
        """The answer's tokens."""
        return self.ids[-self.answer :]


def forced_texts(owner: str, model: nn.Module, rollout: Rollout, postfix_ids: tuple[int, ...]) -> list[ForcedText]:
    """The texts of the rows that have a reasoning token and an answer.

    Args:
        owner: begins messages.
        model: the texts are checked against what it can read.
        rollout: its answers are asked about, with its own exits if it has them; then what ends an answer counts too.
        postfix_ids: tokens that close the reasoning and open the answer, for rollouts without exits.

    Raises:
        ValueError: a rollout without ``answer_ids``, or a token that the model does not have.
        iapo.policy.forward.UnsupportedModelError: a model that does not read such a text as it reads its prefixes.
    """
    asked = asked_answers(owner, rollout, postfix_ids)
    asked.check(model)
    texts, device = [], rollout.completion_ids.device
    for row in (rollout.reasoning_mask.any(1) & asked.scored.any(1)).nonzero().flatten().tolist():
        prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]]
        scored = asked.scored[row].nonzero().flatten()
        tokens = rollout.reasoning_mask[row].nonzero().flatten()
        reasoning = rollout.completion_ids[row, : int(tokens[-1]) + 1]
        ids = torch.cat([prompt, reasoning, asked.ids[row, : int(scored[-1]) + 1]])
        texts.append(ForcedText(row, ids, tokens, tokens + len(prompt), len(scored)))
    longest = max((len(text.ids) for text in texts), default=0)
    check_text(model, torch.ones(1, longest, dtype=torch.bool, device=device))
    return texts


def idle_text(rollout: Rollout) -> ForcedText:
    """A text for a rank that has none while others have, so that all of them call the model equally often."""
    zeros = torch.zeros(3, dtype=torch.long, device=rollout.completion_ids.device)
    return ForcedText(0, zeros, zeros[:1], zeros[:1], 1)


def answer_logits(
    model: nn.Module, ids: Int[Tensor, "copy width"], answer: int, temperature: float
) -> Float[Tensor, "copy answer vocab"]:
    """Logits, fp32 or better, of the last ``answer`` tokens of texts without padding."""
    output = model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        position_ids=torch.arange(ids.shape[1], device=ids.device).expand(len(ids), -1),
        use_cache=False,
        logits_to_keep=answer + 1,
    )
    return at_temperature(output.logits[:, -answer - 1 : -1], temperature)


def answer_change(
    before: Float[Tensor, "answer vocab"],
    after: Float[Tensor, "copy answer vocab"],
    targets: Int[Tensor, " answer"],
    measure: Measure,
) -> Float[Tensor, " copy"]:
    """How far the answer's distribution moved, nats.

    ``"kl"``: ``mean_j KL(before_j || after_j)`` over the answer's tokens ``j``, at least 0. ``"likelihood"``: by how
    much the answer's log-likelihood fell, ``sum_j log before_j(y_j) - log after_j(y_j)``; negative where it rose.

    Args:
        before: logits of the text as it was.
        after: logits of changed copies.
        targets: the answer's tokens.
        measure: which of the two.
    """
    old, new = before.log_softmax(-1), after.log_softmax(-1)
    if measure == "likelihood":
        chosen = targets.expand(len(after), -1)[:, :, None]
        return old.gather(-1, targets[:, None]).sum() - new.gather(-1, chosen).sum((-1, -2))
    # Where a token is ruled out before, its share of the sum is 0, and not 0 * inf.
    return (old.exp() * (old - new).masked_fill(old == -torch.inf, 0)).sum(-1).mean(-1)

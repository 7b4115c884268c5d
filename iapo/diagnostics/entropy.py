"""The policy's entropy on correct and on wrong completions."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.diagnostics.estimate import Estimate, mean_over_tokens
from iapo.ops.checks import check_finite
from iapo.ops.shapes import shape_checked


@shape_checked
def entropy_by_correctness(
    policy_entropy: Float[Tensor, "batch token"],
    completion_mask: Bool[Tensor, "batch token"],
    group_ids: Int[Tensor, " batch"],
    correct: Bool[Tensor, " batch"],
) -> dict[str, Estimate]:
    """Mean entropy of the policy's next-token distribution over the tokens of correct and of wrong completions.

    The exploration term raises the likely tokens of correct completions and lowers those of wrong ones. Its intended
    effect is that entropy falls on correct completions and rises on wrong ones.

    Args:
        policy_entropy: nats, at every token.
        completion_mask: ``True`` at the completions' tokens.
        group_ids: completions with equal ids are a group.
        correct: whether each completion is correct.

    Returns:
        ``correct`` and ``wrong``, nats, with standard errors over groups; a name without any token is absent.

    Raises:
        FloatingPointError: an entropy at a token is NaN or infinite; the rows are named.

    Example:
        >>> import torch
        >>> mask, ids, correct = torch.ones(2, 2, dtype=torch.bool), torch.tensor([0, 0]), torch.tensor([True, False])
        >>> found = entropy_by_correctness(torch.tensor([[1.0, 0.5], [2.0, 2.0]]), mask, ids, correct)
        >>> {name: estimate.value for name, estimate in found.items()}
        {'correct': 0.75, 'wrong': 2.0}
    """
    check_finite("policy_entropy", policy_entropy.masked_fill(~completion_mask, 0))
    result = {}
    for name, rows in (("correct", correct), ("wrong", ~correct)):
        mean = mean_over_tokens(policy_entropy, completion_mask & rows[:, None], group_ids)
        if mean is not None:
            result[name] = mean
    return result

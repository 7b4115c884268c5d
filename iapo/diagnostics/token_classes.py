"""Information by class of token, where a rule assigns a class to each token."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.diagnostics.estimate import Estimate, mean_over_tokens
from iapo.ops.arguments import arguments_named
from iapo.ops.checks import check_finite
from iapo.ops.shapes import shape_checked
from iapo.ops.token_classes import label_codes
from iapo.tokenization.decoding import decode_completions
from iapo.types import Rollout


@shape_checked
def information_by_class(
    information: Float[Tensor, "batch token"],
    information_mask: Bool[Tensor, "batch token"],
    completion_mask: Bool[Tensor, "batch token"],
    group_ids: Int[Tensor, " batch"],
    labels: Sequence[Sequence[str]],
) -> dict[str, Estimate]:
    """Mean information of the tokens of each class, nats per token, with its standard error over groups.

    Args:
        information: nats, as an estimator gives it.
        information_mask: where information was measured; other tokens do not count, whatever their class.
        completion_mask: ``True`` at the completions' tokens.
        group_ids: completions with equal ids are a group.
        labels: the class of every token of each completion, for example from `classify_completions`.

    Returns:
        By class, in alphabetical order; a class without a measured token is absent.

    Raises:
        FloatingPointError: information that was measured is NaN or infinite; the rows are named.
        ValueError: another number of completions than rows, or of labels than a completion has tokens; the row is
            named.

    Example:
        >>> import torch
        >>> mask = torch.ones(1, 3, dtype=torch.bool)
        >>> information = torch.tensor([[0.0, 0.5, 0.25]])
        >>> found = information_by_class(information, mask, mask, torch.tensor([0]), [["filler", "step", "step"]])
        >>> {name: estimate.value for name, estimate in found.items()}
        {'filler': 0.0, 'step': 0.375}
    """
    check_finite("information", information.masked_fill(~information_mask, 0))
    names, codes = label_codes("labels", labels, completion_mask)
    result = {}
    for code, name in enumerate(names):
        mean = mean_over_tokens(information, information_mask & (codes == code), group_ids)
        if mean is not None:
            result[name] = mean
    return result


@arguments_named
def classify_completions(
    rollout: Rollout, prompts: Sequence[str], tokenizer: Any, classify: Callable[[str, str], Sequence[str]]
) -> list[Sequence[str]]:
    """Labels of every completion's tokens, by a rule that reads text, such as `iapo.embedded.classify`.

    Args:
        rollout: the completions.
        prompts: the prompt of each.
        tokenizer: decodes the completions, their end-of-sequence token included.
        classify: from a prompt and a completion to one label per token.

    Raises:
        ValueError: another number of prompts than of completions.
    """
    if len(prompts) != len(rollout):
        raise ValueError(f"prompts: got {len(prompts)}, want one for each of {len(rollout)} completions")
    texts = decode_completions(tokenizer, rollout, eos_ids=())
    return [classify(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]

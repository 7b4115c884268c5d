"""Labels of tokens as integer codes in the shape of the completions."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def label_codes(
    argument: str, labels: Sequence[Sequence[str]], completion_mask: Bool[Tensor, "batch token"]
) -> tuple[list[str], Int[Tensor, "batch token"]]:
    """The names of all classes, in alphabetical order, and the index of each token's among them, -1 at padding.

    Args:
        argument: the name of the labels in errors.
        labels: the class of every token of each completion.
        completion_mask: ``True`` at the completions' tokens.

    Raises:
        ValueError: another number of completions than rows, or of labels than a completion has tokens; the row is
            named.
    """
    lengths = completion_mask.sum(1).tolist()
    if len(labels) != len(lengths):
        raise ValueError(f"{argument}: got {len(labels)} completions, want {len(lengths)}")
    for row, (own, length) in enumerate(zip(labels, lengths, strict=True)):
        if len(own) != length:
            raise ValueError(f"{argument}[{row}]: got {len(own)} labels for {length} tokens")
    names = sorted({str(label) for own in labels for label in own})
    codes = torch.full(completion_mask.shape, -1, device=completion_mask.device)
    flat = [names.index(str(label)) for own in labels for label in own]
    codes[completion_mask] = torch.tensor(flat, dtype=codes.dtype, device=codes.device)
    return names, codes

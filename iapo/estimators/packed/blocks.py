"""Token blocks appended to prefixes, and the checks of the parameters that describe them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from iapo.ops.checks import check_integer
from iapo.policy.forward import text_config


@dataclass(frozen=True, eq=False)
class Block:
    """Tokens appended to each prefix: a chain, or a tree in which several answers share a postfix.

    Args:
        ids: the tokens, one row per completion, or one per completion and prefix.
        kept: block positions whose next-token logits are computed.
        visible: row ``i`` is ``True`` at the block tokens that token ``i`` sees, itself included.
        depths: how far behind the prefix's end each token stands, from 0; the same for all, or for each of ``ids``.
    """

    ids: Int[Tensor, "batch *prefix block"]
    kept: Int[Tensor, " kept"]
    visible: Bool[Tensor, "block block"]
    depths: Int[Tensor, "*prefixes block"]

    @classmethod
    def chain(
        cls, ids: Int[Tensor, "batch *prefix block"], kept: int, lengths: Int[Tensor, "*prefixes"] | None = None
    ) -> "Block":
        """Tokens one after the other, logits at the last ``kept`` of them.

        Args:
            ids: the tokens.
            kept: how many.
            lengths: tokens that are no padding; padding behind them stays at the position of the last one. ``None``:
                all of them.
        """
        steps = torch.arange(ids.shape[-1], device=ids.device)
        depths = steps if lengths is None else torch.minimum(steps, (lengths[..., None] - 1).clamp(min=0))
        return cls(ids, steps[len(steps) - kept :], steps[:, None] >= steps, depths)

    def __len__(self) -> int:
        """Tokens of a copy."""
        return len(self.visible)

    def select(self, rows: Int[Tensor, " rows"] | slice) -> "Block":
        """The block of some completions."""
        return self._of(lambda each: each[rows])

    def columns(self, prefixes: Int[Tensor, " columns"]) -> "Block":
        """The block behind some of the prefixes; the block itself if it is the same behind all."""
        return self if self.ids.ndim == 2 else self._of(lambda each: each[:, prefixes])

    def _of(self, part: Callable[[Tensor], Tensor]) -> "Block":
        return Block(
            part(self.ids), self.kept, self.visible, part(self.depths) if self.depths.ndim > 1 else self.depths
        )


def check_vocabulary(model: nn.Module, **ids: tuple[int, ...] | Tensor) -> None:
    """Raise ``ValueError`` if an id is none of the model's; on CUDA the embedding would only stop the device."""
    size = text_config(model).vocab_size
    for name, each in ids.items():
        largest = int(max(each, default=-1)) if isinstance(each, tuple) else int(each.max()) if each.numel() else -1
        if largest >= size:
            raise ValueError(f"{name}: got token id {largest}, the model's vocabulary has {size} entries")


def check_chunk(chunk: int | None) -> None:
    """Raise ``ValueError`` unless ``chunk`` is ``None`` or at least 1."""
    check_integer("chunk", chunk, or_none=True)

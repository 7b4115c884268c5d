"""Gradients by weights that FSDP2 shards, apart from those that an optimizer holds."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor


def sharded_gradients(
    logprobs: Callable[[], Tensor], weightings: Sequence[Tensor], parameters: Sequence[Tensor]
) -> Iterator[Sequence[Tensor]]:
    """This rank's shards of the gradients of ``sum(weights * logprobs())``, one for each weighting.

    Torch knows such gradients only after a backward pass that writes them where the optimizer reads them: what was
    there is put back. A graph can be gone through once, so that each weighting has a forward of its own. All ranks
    call this together, with the same numbers: FSDP2 averages gradients over them.

    Args:
        logprobs: makes what the weights are multiplied with, by a forward of a model of ``fully_shard``.
        weightings: of its shape.
        parameters: of `iapo.policy.whole_weights.own_shards`; a gradient has 0 where nothing depends on one.
    """
    for weights in weightings:
        held = [parameter.grad for parameter in parameters]
        for parameter in parameters:
            parameter.grad = None
        try:
            values = logprobs()
            (weights.to(values.dtype) * values).sum().backward()
            found = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        finally:
            for parameter, before in zip(parameters, held, strict=True):
                parameter.grad = before
        yield [each.to_local() if isinstance(each, DTensor) else each for each in found]

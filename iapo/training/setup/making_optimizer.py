"""The torch optimizer of a run; what torch refuses of its arguments is told by the name of the flag."""

import re
from collections.abc import Callable, Iterable

from torch import nn
from torch.optim import Optimizer

_REFUSED = re.compile(
    r"(?:Invalid )?(?P<what>[\w ]+?)(?: value| parameter)?(?: at index \d+)?(?: should be >= 0 but is)?: (?P<got>.*)"
)
_NAMES = {"learning rate": "lr", "Learning rate": "lr", "epsilon": "eps", "beta": "betas"}
"""What torch calls an argument, where that is not its name."""
_WANTED = {"betas": "two numbers from 0 up to below 1", "lr": "a number of at least 0, such as 1e-5"}


def make_optimizer(
    make: Callable[[Iterable[nn.Parameter]], Optimizer], parameters: Iterable[nn.Parameter]
) -> Optimizer:
    """The optimizer of these parameters.

    Args:
        make: as the command line names it.
        parameters: those that are trained.

    Raises:
        ValueError: an argument outside its range; it is named as the command line names it.

    Example:
        >>> import torch
        >>> make_optimizer(lambda parameters: torch.optim.SGD(parameters, lr=-1.0), [nn.Parameter(torch.zeros(1))])
        Traceback (most recent call last):
        ...
        ValueError: optimizer.lr: got -1.0, want a number of at least 0, such as 1e-5
    """
    try:
        return make(parameters)
    except ValueError as error:
        refused = _REFUSED.match(str(error))
        if refused is None:
            raise ValueError(f"optimizer: {error}; --optimizer.NAME gives it other arguments") from error
        name = _NAMES.get(refused["what"], refused["what"].replace(" ", "_"))
        wanted = _WANTED.get(name, "a number of at least 0")
        raise ValueError(f"optimizer.{name}: got {refused['got']}, want {wanted}") from error

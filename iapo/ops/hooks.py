"""Abstract classes whose hooks are checked where a subclass defines them."""

import inspect
from typing import Any


class Hooked:
    """A base of interfaces, beside ``ABC``: the hooks of a subclass must take what the abstract ones are called with.

    Raises:
        TypeError: where a subclass is defined, by the name of its hook, what it takes and what it is called with.

    Example:
        >>> from iapo import PolicyLoss
        >>> class Mine(PolicyLoss):
        ...     def compute(self, logprobs, advantages): ...
        Traceback (most recent call last):
        ...
        TypeError: Mine.compute: takes (self, logprobs, advantages), want (self, inputs)
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, own in vars(cls).items():
            hook = next((vars(base)[name] for base in cls.__mro__[1:] if name in vars(base)), None)
            if not (
                getattr(hook, "__isabstractmethod__", False) and inspect.isfunction(hook) and inspect.isfunction(own)
            ):
                continue
            wanted, taken = inspect.signature(hook), inspect.signature(own)
            try:
                taken.bind(*wanted.parameters)
            except TypeError:
                raise TypeError(f"{cls.__name__}.{name}: takes {_untyped(taken)}, want {_untyped(wanted)}") from None


def _untyped(signature: inspect.Signature) -> str:
    """A signature without its annotations."""
    parameters = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    return str(inspect.Signature(parameters))

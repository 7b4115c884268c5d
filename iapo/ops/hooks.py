"""Abstract classes whose hooks are checked where a subclass defines them."""

import inspect
from typing import Any


class Hooked:
    """A base of interfaces, beside ``ABC``: methods of a subclass must take what the interface's are called with.

    A method in the place of a value or a property of the interface, which would be true whatever it returns, is refused
    too.

    Raises:
        TypeError: where a subclass is defined, by the name of its method, what it takes and what it is called with.

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
            if inspect.isfunction(own) and (declared := _declared(cls, name)) is not None:
                _check_method(f"{cls.__name__}.{name}", own, declared)


def _declared(cls: type, name: str) -> Any:
    """What an interface declares of that name, or a class between them as abstract; ``None``: nothing."""
    bases = [base for base in reversed(cls.__mro__[1:]) if issubclass(base, Hooked) and name in vars(base)]
    if not bases:
        return None
    declared = vars(bases[0])[name]
    is_public = Hooked in bases[0].__bases__ and not name.startswith("_")
    return declared if is_public or getattr(declared, "__isabstractmethod__", False) else None


def _check_method(name: str, own: Any, declared: Any) -> None:
    """Raise ``TypeError`` for a method that cannot stand for what the interface declares."""
    if isinstance(declared, property) or not (callable(declared) or hasattr(declared, "__func__")):
        raise TypeError(f"{name}: is a method, want a value, or a property (@property in the line above)")
    if not inspect.isfunction(declared):
        return
    wanted, taken = inspect.signature(declared), inspect.signature(own)
    try:
        taken.bind(*wanted.parameters)
    except TypeError:
        raise TypeError(f"{name}: takes {_untyped(taken)}, want {_untyped(wanted)}") from None


def _untyped(signature: inspect.Signature) -> str:
    """A signature without its annotations."""
    parameters = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    return str(inspect.Signature(parameters))

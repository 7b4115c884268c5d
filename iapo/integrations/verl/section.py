"""The section ``iapo`` of verl's configuration, and the components that it names."""

import re
from argparse import ArgumentError
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from iapo.integrations.core import TokenAdvantages
from iapo.integrations.options import TokenAdvantageOptions
from iapo.interfaces import AdvantageAssigner, MIEstimator
from iapo.ops.checks import check_kinds
from iapo.tokenization.continuation import continuation_ids
from iapo.training.configuration.file_parser import FileParser
from iapo.training.configuration.parser_errors import readable_error

OUTCOMES = (
    "grpo",
    "grpo_vectorized",
    "grpo_passk",
    "reinforce_plus_plus",
    "reinforce_plus_plus_baseline",
    "rloo",
    "rloo_vectorized",
    "opo",
)
"""verl's estimators that ask for rewards and nothing else: no critic, no greedy baseline, no sums of squares."""
_FILLED_IN = {
    "temperature": "actor_rollout_ref.rollout.temperature",
    "postfix_ids": "iapo.postfix",
    "closing_ids": "iapo.closing",
}
"""Arguments of an estimator that follow from other settings."""
_FLAG = re.compile(r"--([\w.]+) VALUE")
_PARTS = {"estimator": MIEstimator, "assigner": AdvantageAssigner}


@dataclass
class VerlOptions(TokenAdvantageOptions):
    """The options of the section; `iapo.integrations.options` has those that other engines have too.

    Args:
        outcome: verl's estimator of the outcome's advantages, to which the assigner adds.
        correct_reward: what says which completions are right: a key of the dictionary that the reward function returns;
            ``None``: its score.
        temperature: that of sampling; it is no option of the section.

    Raises:
        ValueError: an option out of its range.
        TypeError: one that is no flag or text, and should be.
    """

    outcome: str = "grpo"
    correct_reward: str | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_kinds(self)
        self.check()
        if self.outcome not in OUTCOMES:
            raise ValueError(
                f"outcome: got {self.outcome!r}, want one of {', '.join(OUTCOMES)}: estimators of verl that need "
                "nothing but rewards"
            )


@dataclass(frozen=True)
class Section:
    """The section, read.

    Args:
        options: what is said by words.
        parts: an ``estimator`` or an ``assigner`` in their place, by import path.
        given: the names in the section.
    """

    options: VerlOptions
    parts: Mapping[str, Any]
    given: Collection[str]

    def token_advantages(
        self, tokenizer: Any, micro_batch: int, eos_ids: Collection[int], max_new_tokens: float
    ) -> TokenAdvantages:
        """What gives completions their advantages.

        Args:
            tokenizer: of the policy.
            micro_batch: completions in one forward, unless the section says it.
            eos_ids: end-of-sequence ids.
            max_new_tokens: the limit of a completion.

        Raises:
            ValueError: a part that cannot be made, or an option that a part leaves without effect.
        """
        options = self.options
        parts = {name: self._made(name, tokenizer) for name in self.parts}
        with _named():
            options.refuse_options_of(*parts.values())
            estimator = parts.get("estimator") or options.estimator(tokenizer)
        return TokenAdvantages(
            tokenizer,
            estimator,
            parts.get("assigner") or options.assigner(),
            options.temperature,
            options.estimate_batch_size or micro_batch,
            eos_ids,
            options.style(),
            max_new_tokens,
            options.answer,
            options.correct_above,
        )

    def _made(self, name: str, tokenizer: Any) -> Any:
        """A part by its import path. Token ids, tokenizer and temperature of an estimator follow from the others."""
        style, parser = self.options.style(), FileParser(exit_on_error=False)
        parser.add_argument("--temperature", type=float, default=self.options.temperature)
        for text in ("postfix", "closing"):
            parser.add_argument(f"--{text}", type=str, default=getattr(style, text))
        parser.add_subclass_arguments(_PARTS[name], name)
        if name == "estimator":
            _refuse_filled_in(self.parts[name])
            for owner in (f"{name}.init_args", f"{name}.init_args.estimator.init_args"):
                for text in ("postfix", "closing"):
                    parser.link_arguments(
                        text, f"{owner}.{text}_ids", compute_fn=lambda value: continuation_ids(tokenizer, value)
                    )
                parser.link_arguments("temperature", f"{owner}.temperature")
                parser.link_arguments(
                    "closing", f"{owner}.boundaries.init_args.tokenizer", compute_fn=lambda _: tokenizer
                )
        try:
            return parser.instantiate(parser.parse_object({name: self.parts[name]}))[name]
        except Exception as error:
            said = readable_error(error, (), parser).message if isinstance(error, ArgumentError) else str(error)
            said = _FLAG.sub(lambda found: "iapo." + found[1].replace(".", ".init_args."), " ".join(said.split()))
            raise ValueError(f"iapo.{name}: got {self.parts[name]}, which cannot be made: {said}") from error


def _refuse_filled_in(given: Any) -> None:
    """Raise if the arguments of an estimator, or of one inside it, have some that follow from other settings."""
    arguments = given.get("init_args") if isinstance(given, Mapping) else None
    if not isinstance(arguments, Mapping):
        return
    for argument, source in _FILLED_IN.items():
        if argument in arguments:
            raise ValueError(
                f"iapo.estimator: got {argument}={arguments[argument]}, which follows from {source}; leave it out"
            )
    _refuse_filled_in(arguments.get("estimator"))


@contextmanager
def _named() -> Iterator[None]:
    """A context in which the message of an error about an option says that the option is of the section."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError  # others of these have other arguments
        raise kind(f"iapo.{error}") from error


def read_section(given: Mapping[str, Any], temperature: float) -> Section:
    """The section ``iapo``.

    Args:
        given: its names and values.
        temperature: that of sampling.

    Raises:
        ValueError: a name that there is not, a value out of its range.
        TypeError: a value that is no flag or text, and should be.
    """
    names = {each.name for each in fields(VerlOptions)} - {"temperature"}
    if unknown := sorted(set(given) - names - set(_PARTS)):
        raise ValueError(f"iapo: got {', '.join(unknown)}, want some of {', '.join(sorted(names | set(_PARTS)))}")
    words = {name: value for name, value in given.items() if name in names}
    with _named():
        options = VerlOptions(**words, temperature=temperature)
    return Section(options, {name: given[name] for name in _PARTS if given.get(name) is not None}, set(given))

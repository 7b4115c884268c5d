"""The options of token advantages that the configurations of all engines have, and the components that follow."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from iapo.advantages import GivenOutcome, InformationAware, LeaveOutPriced
from iapo.advantages.information_aware import AppliesTo, Credit
from iapo.advantages.normalization import Center, Scale
from iapo.advantages.parameters import check_weights
from iapo.estimators import AnswerLikelihood, LeaveOut, Refined, TextBoundaries
from iapo.interfaces import AdvantageAssigner, MIEstimator
from iapo.ops.checks import check_choice, check_integer, check_kinds, check_number
from iapo.ops.correct import CORRECT_ABOVE
from iapo.styles import USUAL_STYLE, CompletionStyle, Steps
from iapo.training.components import Answer
from iapo.training.configuration.styles import ANSWERS, REASONINGS

AnswerStyleName = Literal["usual", "tags", "boxed", "hashes", "phrase", "json", "last_line"]
ReasoningStyleName = Literal["usual", "tags", "opened_tags", "before_answer"]
Signal = Literal["leave_out", "answer_likelihood"]
"""What a step is worth to the text behind it, or what a token tells about the answer."""
ProbeAt = Literal["tokens", "sentences"]
"""After every token, or at the ends of steps, which are lines and sentences."""

_OF_ASSIGNER = (
    "alpha",
    "exploration_weight",
    "credit",
    "discount",
    "information_center",
    "information_scale",
    "applies_to",
    "per_group",
)
_OF_STEPS: tuple[str, ...] = ("step_lines", "step_sentences", "step_patterns")
_OF_ESTIMATOR = ("probe_at", *_OF_STEPS)
_OF_ANSWERS: tuple[str, ...] = ("answer", "probe_at", "postfix", "closing")
"""Options about the answer that is asked for."""

_Config: Any = object
"""What stands behind the options: a configuration of the engine, or nothing."""


@dataclass
class TokenAdvantageOptions(_Config):
    """The options in an engine's configuration about information and the advantages made from it.

    What is ``None`` is the default of `iapo.advantages.LeaveOutPriced` or `iapo.advantages.InformationAware`, by the
    signal.
    """

    signal: Signal = field(
        default="leave_out",
        metadata={
            "help": "What a step is worth to the text behind it (`leave_out`), or what a token tells about the answer "
            "(`answer_likelihood`)."
        },
    )
    alpha: float | None = field(
        default=None,
        metadata={"help": "Weight of the information term; default: 0.5. With 0 the advantages are the engine's."},
    )
    exploration_weight: float = field(
        default=0.0,
        metadata={"help": "Weight of the exploration term (`beta` is often an engine's weight of the KL penalty)."},
    )
    credit: Credit | None = field(
        default=None,
        metadata={
            "help": "A token's `own` information (default), or information `to_go` (default for `answer_likelihood`)."
        },
    )
    discount: float = field(default=0.9, metadata={"help": "Of information to go, per token."})
    information_center: Center = field(
        default="group", metadata={"help": "The tokens over which the information term is centered."}
    )
    information_scale: Scale | None = field(
        default=None,
        metadata={
            "help": "`std` divides the information term by the standard deviation (default for `answer_likelihood`), "
            "`none` not (default)."
        },
    )
    applies_to: AppliesTo = field(default="correct", metadata={"help": "The completions that get an information term."})
    per_group: int | None = field(
        default=None,
        metadata={"help": "Completions of a group that get an information term, and are measured; default: all."},
    )
    correct_above: float = field(
        default=CORRECT_ABOVE,
        metadata={"help": "A completion is right if the reward that says so, unweighted, is above this."},
    )
    answer: Answer = field(
        default="own", metadata={"help": "What is asked about: the completion's `own` answer, or the `reference`."}
    )
    probe_at: ProbeAt = field(
        default="tokens",
        metadata={
            "help": "Where it is asked: after every token, or at the ends of steps (`sentences`), for less time."
        },
    )
    step_lines: bool = field(default=True, metadata={"help": "Whether a line of the reasoning is a step."})
    step_sentences: bool = field(default=True, metadata={"help": "Whether a sentence of the reasoning is a step."})
    step_patterns: list[str] | None = field(
        default=None,
        metadata={"help": "Regular expressions; a step ends where a match of one ends too, as in front of `(?=Wait)`."},
    )
    answer_style: AnswerStyleName = field(
        default="usual",
        metadata={"help": "How completions answer; `usual`: in tags, else in a box, else behind #### or a phrase."},
    )
    reasoning_style: ReasoningStyleName = field(
        default="usual",
        metadata={"help": "How they reason; `usual`: in <think> tags, else all before the answer."},
    )
    postfix: str | None = field(
        default=None, metadata={"help": "Text that closes the reasoning and opens the answer; default: the style's."}
    )
    closing: str | None = field(default=None, metadata={"help": "Text that ends the answer; default: the style's."})
    estimate_batch_size: int | None = field(
        default=None, metadata={"help": "Completions probed together; default: as many as the engine's forward takes."}
    )

    def check(self) -> None:
        """Raise ``ValueError`` for an option out of its range, ``TypeError`` for one that is no flag or no text."""
        check_kinds(self, TokenAdvantageOptions)
        check_number("correct_above", self.correct_above)
        check_integer("estimate_batch_size", self.estimate_batch_size, or_none=True)
        check_weights(exploration_weight=self.exploration_weight)
        check_choice("information_center", self.information_center, Center)
        check_choice("signal", self.signal, Signal)
        if self.information_scale is not None:
            check_choice("information_scale", self.information_scale, Scale)
        check_choice("answer", self.answer, Answer)
        check_choice("probe_at", self.probe_at, ProbeAt)
        check_choice("answer_style", self.answer_style, AnswerStyleName)
        check_choice("reasoning_style", self.reasoning_style, ReasoningStyleName)
        self.steps()
        if self.postfix == "":
            raise ValueError("postfix: got an empty text, want None or the text that closes reasoning and opens answer")
        self.assigner()

    def assigner(self) -> InformationAware:
        """The assigner that adds the terms to the engine's advantages.

        Raises:
            ValueError: an option out of its range; the message names it.
        """
        kind = LeaveOutPriced if self.signal == "leave_out" else InformationAware
        by_signal: dict[str, Any] = {"alpha": self.alpha, "credit": self.credit, "scale": self.information_scale}
        return kind(
            GivenOutcome(),
            beta=self.exploration_weight,
            discount=self.discount,
            center=self.information_center,
            applies_to=self.applies_to,
            per_group=self.per_group,
            **{name: value for name, value in by_signal.items() if value is not None},
        )

    def steps(self) -> Steps:
        """Where the steps of the reasoning end.

        Raises:
            ValueError: nothing that ends one, or a pattern that is no regular expression.
        """
        patterns = () if self.step_patterns is None else self.step_patterns
        if not (isinstance(patterns, list | tuple) and all(isinstance(pattern, str) for pattern in patterns)):
            raise ValueError(f"step_patterns: got {self.step_patterns!r}, want a list of regular expressions")
        if not (self.step_lines or self.step_sentences or patterns):
            raise ValueError(
                "step_lines, step_sentences: got False and False, and no step_patterns; want one of them, else no step "
                "ends"
            )
        try:
            return Steps(self.step_lines, self.step_sentences, tuple(patterns))
        except ValueError as error:
            raise ValueError(f"step_{error}") from error

    def style(self) -> CompletionStyle:
        """How completions reason and answer."""
        style = CompletionStyle(
            REASONINGS.get(self.reasoning_style, USUAL_STYLE.reasoning),
            ANSWERS.get(self.answer_style, USUAL_STYLE.answer),
            steps=self.steps(),
        )
        return style.replaced(self.postfix, self.closing)

    @property
    def says_style(self) -> bool:
        """Whether an option says how completions reason or answer, so that rewards should read them so too."""
        return bool(changed_from_defaults(self, ("answer_style", "reasoning_style")))

    def estimator(self, tokenizer: PreTrainedTokenizerBase) -> MIEstimator:
        """The estimator of the signal, asking at the temperature of sampling.

        Args:
            tokenizer: of the policy.

        Raises:
            ValueError: options about the answer that is asked for, and the signal asks for none; options about steps,
                and every token is probed.
        """
        if self.signal == "leave_out":
            if given := changed_from_defaults(self, _OF_ANSWERS):
                raise ValueError(
                    f"{', '.join(given)}: set, and signal='leave_out' asks for no answer; want "
                    "signal='answer_likelihood' with them, or an estimator"
                )
            return LeaveOut(TextBoundaries(tokenizer, self.steps()), temperature=self.temperature)
        style = self.style()
        every = AnswerLikelihood.from_text(tokenizer, style.postfix, style.closing, temperature=self.temperature)
        if self.probe_at == "tokens":
            if given := changed_from_defaults(self, _OF_STEPS):
                raise ValueError(
                    f"{', '.join(given)}: set, and probe_at='tokens' asks after every token; want "
                    "probe_at='sentences', which asks at the ends of steps"
                )
            return every
        return Refined(every, stride=1, boundaries=TextBoundaries(tokenizer, self.steps()))

    def refuse_options_of(self, *given: MIEstimator | AdvantageAssigner | None) -> None:
        """Raise ``ValueError`` if an option is set that nobody reads once these parts are given.

        Args:
            given: an estimator and an assigner in place of those of the options; ``None``: not given.
        """
        names: dict[str, Sequence[str]] = {
            type(part).__name__: _OF_ESTIMATOR if isinstance(part, MIEstimator) else _OF_ASSIGNER
            for part in given
            if part is not None
        }
        for part in given:
            if isinstance(part, AdvantageAssigner) and not part.requires_estimate:
                why, options = "reads no information", (*_OF_ANSWERS, *_OF_STEPS)
            elif isinstance(part, MIEstimator) and not part.reads_answer:
                why, options = "asks for no answer", _OF_ANSWERS
            else:
                continue
            if changed := changed_from_defaults(self, options):
                raise ValueError(
                    f"{', '.join(changed)}: set in the configuration, and given is {type(part).__name__}, which {why}; "
                    "leave it out"
                )
        if len(names) > 1:
            names[" and ".join(names)] = ("signal",)
        for parts, unread in names.items():
            if changed := changed_from_defaults(self, unread):
                raise ValueError(
                    f"{', '.join(changed)}: set in the configuration, and given is {parts}, with settings of its own; "
                    "set them there"
                )


def changed_from_defaults(options: TokenAdvantageOptions, names: Sequence[str]) -> list[str]:
    """Those of the options that are not as they are by default."""
    defaults = {each.name: each.default for each in fields(TokenAdvantageOptions)}
    return [name for name in names if getattr(options, name) != defaults[name]]

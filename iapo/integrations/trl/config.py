"""The options that information adds to a configuration of TRL, and which of TRL's it refuses."""

from dataclasses import dataclass, field
from typing import Any

from trl import GRPOConfig

from iapo.integrations.options import TokenAdvantageOptions
from iapo.ops.checks import check_kinds


@dataclass
class InformationOptions(TokenAdvantageOptions):
    """What `InformationMixin` reads; the base of `IAPOConfig`, and of the configuration of a trainer of one's own.

    Stands before a `trl.GRPOConfig` among the bases of a dataclass.
    """

    correct_reward: str | None = field(
        default=None,
        metadata={"help": "Name of the reward function that says which completions are right; default: the first."},
    )
    answer_column: str = field(
        default="answer", metadata={"help": "Column of the reference answers, read only with answer `reference`."}
    )
    lenient: bool = field(
        default=True,
        metadata={
            "help": "Whether an answer counts in a completion that was cut before its end, as it does in TRL. With "
            "`False` reward functions get `completion_finished`, and those of iapo count it as wrong, as `iapo train` "
            "does."
        },
    )
    information_in_eval: bool = field(
        default=False, metadata={"help": "Measure information, and give it to advantages, in evaluations too."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_trl_options(self)
        check_kinds(self, InformationOptions)
        self.check()


@dataclass
class IAPOConfig(InformationOptions, GRPOConfig):
    """`trl.GRPOConfig` with the options of `InformationOptions`."""


def refuse_trl_options(args: Any) -> None:
    """Raise ``ValueError`` for options of `trl.GRPOConfig` under which token advantages would not be what they say."""
    reason = None
    if args.importance_sampling_level != "token":
        reason = (
            f"importance_sampling_level: got {args.importance_sampling_level!r}, want 'token'; with one ratio per "
            "completion the tokens' advantages act as their mean"
        )
    elif args.loss_type == "vespo":
        reason = "loss_type: got 'vespo', which weighs a completion by the sign of its one advantage; want another"
    elif args.off_policy_mask_threshold is not None:
        reason = (
            f"off_policy_mask_threshold: got {args.off_policy_mask_threshold}, want None; it drops completions by the "
            "sign of their one advantage"
        )
    else:
        reason = _not_sampled_so(args)
    if reason is not None:
        raise ValueError(reason)


def _not_sampled_so(args: Any) -> str | None:
    """What of ``generation_kwargs`` makes completions others than information and log-probabilities are taken of."""
    given = args.generation_kwargs or {}
    cut = "which completions were cut is told by max_completion_length; set that alone"
    ended = "TRL reads where completions end by the model's generation_config.eos_token_id; set it there"
    wanted = {
        "temperature": (
            args.temperature,
            f"log-probabilities and information are taken at temperature={args.temperature}; set temperature alone",
        ),
        "do_sample": (True, "the likeliest tokens are no sample of the policy; leave it out"),
        "num_beams": (1, "what a search by beams finds is no sample of the policy; leave it out"),
        "max_new_tokens": (args.max_completion_length, cut),
        "max_tokens": (args.max_completion_length, cut),
        "max_time": (None, cut),
        "eos_token_id": (None, ended),
        "stop_token_ids": (None, ended),
    }
    if not args.lenient:
        stopped = "a completion that it ends counts as cut, which lenient=False makes wrong; leave one of the two out"
        wanted |= {"stop": (None, stopped), "stop_strings": (None, stopped)}
    for name, (value, reason) in wanted.items():
        if given.get(name, value) != value:
            return f"generation_kwargs: got {name} {given[name]}, and {reason}"
    return None

"""What a trainer of TRL is refused for, at its construction and with the reason.

Options are refused by `iapo.integrations.trl.InformationOptions`.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from iapo.integrations.core import TokenAdvantages
from iapo.integrations.trl.config import InformationOptions
from iapo.policy.support import learned_prompt
from iapo.rewards.columns import read_references
from iapo.training.known_signals import REFERENCE, check_reference_columns


def refuse_trainer(trainer: Any) -> int:
    """Raise if a trainer cannot take token advantages; else the index of the reward that says what is right.

    Raises:
        TypeError: a trainer that is none of TRL's GRPO, or a configuration without `InformationOptions`.
        ValueError: a loss that another class than GRPOTrainer computes, a model that reads images, a prompt-learning
            adapter, data with images or with columns named like arguments of rewards, a ``correct_reward`` that no
            function has.
    """
    name, args = type(trainer).__name__, trainer.args
    if not isinstance(trainer, GRPOTrainer):
        raise TypeError(f"{name}: want a subclass of trl.GRPOTrainer, whose loss takes an advantage for each token")
    if not isinstance(args, InformationOptions):
        raise TypeError(f"args: got {type(args).__name__}, want an IAPOConfig, or a class that has InformationOptions")
    if type(trainer)._compute_loss is not GRPOTrainer._compute_loss:
        raise ValueError(
            f"{name}: its loss is not GRPOTrainer's, and may read one advantage for each completion, as GMPO's does; "
            "use a trainer that leaves _compute_loss as it is"
        )
    if trainer._is_vlm:
        raise ValueError("processing_class: got a processor of images; information is measured of text models only")
    kind = learned_prompt(trainer.model)
    if kind is not None:
        raise ValueError(
            f"peft_config: got {kind}, whose virtual tokens the mask of the probes does not know; use "
            "an adapter of weights, such as LoraConfig"
        )
    for which, data in _tables(trainer):
        if found := sorted({"image", "images"} & set(data.column_names)):
            raise ValueError(f"{which}: got the columns {found}; information is measured of text only, remove them")
        found = sorted({"prompts", "completions"} & set(data.column_names))
        if found and not args.remove_unused_columns:
            raise ValueError(
                f"{which}: got the columns {found}, and by these names TRL gives reward functions what the policy read "
                "and wrote; rename or remove them"
            )
    names = trainer.reward_func_names
    wanted = names[0] if args.correct_reward is None else args.correct_reward
    if wanted not in names:
        raise ValueError(f"correct_reward: got {wanted!r}, want the name of a reward function, one of {names}")
    return names.index(wanted)


def refuse_data(trainer: Any, requires: Set[str]) -> None:
    """Raise if the data do not say in each row what is read of it, as far as they can be looked at before.

    What a rollout function or an environment makes is not known, and data of evaluations are read only with
    ``information_in_eval``.

    Args:
        trainer: with its data.
        requires: the signals that its assigner reads.

    Raises:
        ValueError: no column that a reward needs (``required_columns``), of reference answers, or of what a reference
            policy does; a row that says none.
    """
    args = trainer.args
    if trainer.rollout_func is not None or trainer.environment_factories is not None:
        return
    for which, data in _tables(trainer):
        columns, asked = data.column_names, args.answer == "reference"
        for name, function in zip(trainer.reward_func_names, trainer.reward_funcs, strict=True):
            if missing := sorted(set(getattr(function, "required_columns", ())) - set(columns)):
                raise ValueError(f"{which}: the reward {name!r} needs the columns {missing}, it has {sorted(columns)}")
        if which != "train_dataset" and not args.information_in_eval:
            continue
        if asked and args.answer_column not in columns:
            raise ValueError(
                f"answer_column: got {args.answer_column!r}, {which} has the columns {sorted(columns)}; with "
                "answer='reference' name the column of the answers"
            )
        if not hasattr(data, "__len__"):
            continue
        try:
            if asked:
                read_references([{"answer": answer} for answer in data[args.answer_column]])
            if needed := REFERENCE & requires:
                # A column that there is not is named among those that there are.
                values = [data[name] if name in needed else [None] * len(data) for name in columns]
                check_reference_columns(
                    requires, [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]
                )
        except ValueError as error:
            raise ValueError(f"{which}: {error}") from error


def _tables(trainer: Any) -> Iterator[tuple[str, Any]]:
    """The data of a trainer whose columns are known, and the names of its arguments."""
    given = trainer.eval_dataset
    parts = given if isinstance(given, Mapping) else {"": given}
    named = {f"eval_dataset[{name!r}]" if name else "eval_dataset": data for name, data in parts.items()}
    for which, data in {"train_dataset": trainer.train_dataset, **named}.items():
        if isinstance(getattr(data, "column_names", None), list):
            yield which, data


def refuse_assigner(trainer: Any, token_advantages: TokenAdvantages) -> None:
    """Raise ``ValueError`` if the assigner would leave what TRL is told about rewards without effect.

    Raises:
        ValueError: an assigner that reads each reward by itself; one that computes an outcome of its own, and several
            reward functions or an option of how TRL computes the outcome.
    """
    assigner, args = token_advantages.assigner, trainer.args
    name = type(assigner).__name__
    if "reward_columns" in assigner.requires:
        raise ValueError(
            f"assigner: {name} reads each reward by itself; let TRL do it, with InformationAware(GivenOutcome()) and "
            "multi_objective_aggregation='normalize_then_sum'"
        )
    if token_advantages.takes_outcome:
        return
    if len(trainer.reward_func_names) > 1:
        raise ValueError(
            f"assigner: {name} computes the outcome by itself, from one reward, and there are the rewards "
            f"{trainer.reward_func_names}; add them up in one function, or let it wrap GivenOutcome()"
        )
    defaults = {field.name: field.default for field in GRPOConfig.__dataclass_fields__.values()}
    for option in ("scale_rewards", "multi_objective_aggregation", "reward_weights"):
        if getattr(args, option) != defaults[option]:
            raise ValueError(
                f"{option}: got {getattr(args, option)!r}, and {name} computes the outcome by itself, so that it would "
                "do nothing; leave it out, or let the assigner wrap GivenOutcome()"
            )


def refuse_groups(completions: int, group: int) -> None:
    """Raise ``ValueError`` if a batch of an evaluation splits a group; TRL looks only where ``eval_strategy`` is set.

    Args:
        completions: in the batch, over all processes.
        group: completions of a prompt.
    """
    if completions % group:
        below = completions // group * group
        nearest = f"{below} or {below + group}" if below else str(group)
        raise ValueError(
            f"per_device_eval_batch_size: got a batch of {completions} completions over all processes, want a multiple "
            f"of num_generations_eval ({group}), such as {nearest}; num_generations_eval is num_generations if not set"
        )


def refuse_infinite(names: Sequence[str], scores: Tensor) -> None:
    """Raise ``FloatingPointError`` for an infinite score: TRL makes advantages of 0 of it, for its whole group.

    Args:
        names: of the reward functions.
        scores: a row for each completion of all processes, a column for each function.
    """
    for name, column in zip(names, scores.T, strict=True):
        if rows := column.isinf().nonzero().flatten().tolist():
            raise FloatingPointError(
                f"reward {name!r}: got an infinite score for the completions {rows[:10]} of the batch, want a finite "
                "number, or None for a completion that it cannot score"
            )

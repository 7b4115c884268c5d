"""What a trainer of TRL is refused for, at its construction and with the reason.

Options are refused by `iapo.integrations.trl.InformationOptions`.
"""

from typing import Any

from trl import GRPOConfig, GRPOTrainer

from iapo.integrations.core import TokenAdvantages
from iapo.integrations.trl.config import InformationOptions
from iapo.policy.support import learned_prompt


def refuse_trainer(trainer: Any) -> int:
    """Raise if a trainer cannot take token advantages; else the index of the reward that says what is right.

    Raises:
        TypeError: a trainer that is none of TRL's GRPO, or a configuration without `InformationOptions`.
        ValueError: a loss that another class than GRPOTrainer computes, a model that reads images, a prompt-learning
            adapter, data with images or without the answers to ask about, a ``correct_reward`` that no function has.
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
    for which in ("train_dataset", "eval_dataset"):
        columns = getattr(getattr(trainer, which, None), "column_names", None)
        if not isinstance(columns, list):
            continue
        if found := sorted({"image", "images"} & set(columns)):
            raise ValueError(f"{which}: got the columns {found}; information is measured of text only, remove them")
        made = trainer.rollout_func is not None or trainer.environment_factories is not None
        if args.answer == "reference" and args.answer_column not in columns and not made:
            raise ValueError(
                f"answer_column: got {args.answer_column!r}, {which} has the columns {sorted(columns)}; with "
                "answer='reference' name the column of the answers"
            )
    names = trainer.reward_func_names
    wanted = names[0] if args.correct_reward is None else args.correct_reward
    if wanted not in names:
        raise ValueError(f"correct_reward: got {wanted!r}, want the name of a reward function, one of {names}")
    return names.index(wanted)


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

"""What a configuration of verl is refused for, before anything is started and with the reason."""

from collections.abc import Sequence
from typing import Any

from iapo.advantages import GFPO, GivenOutcome
from iapo.integrations.core import TokenAdvantages
from iapo.integrations.verl.section import Section
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import is_finite_number
from iapo.training.known_signals import REFERENCE

_STRATEGIES = ("fsdp", "fsdp2")


def refuse_config(config: Any) -> None:
    """Raise for settings under which token advantages or information would not mean what they say.

    Args:
        config: verl's configuration.

    Raises:
        ValueError: another advantage estimator, an actor that is not FSDP's, sequences split over ranks, a forward
            without logits, a loss that reads one advantage for each completion, greedy sampling.
    """
    actor, model = config.actor_rollout_ref.actor, config.actor_rollout_ref.model
    engine = actor.get("fsdp_config", None) or {}
    ulysses = max(int(each.get("ulysses_sequence_parallel_size", None) or 1) for each in (actor, engine))
    loss = (actor.get("policy_loss", None) or {}).get("loss_mode", None)
    temperature = config.actor_rollout_ref.rollout.temperature
    reason = None
    if config.algorithm.adv_estimator != "iapo":
        reason = (
            f"algorithm.adv_estimator: got {config.algorithm.adv_estimator}, want iapo with trainer_mode=iapo_...; "
            "iapo.outcome names verl's estimator of the outcome"
        )
    elif not config.trainer.get("use_v1", True):
        reason = "trainer.use_v1: got False, want True; information is measured by the v1 trainers alone"
    elif actor.strategy not in _STRATEGIES:
        reason = (
            f"actor_rollout_ref.actor.strategy: got {actor.strategy}, want fsdp2 or fsdp; probes go through the model "
            "of transformers with a mask of their own, which other engines do not take"
        )
    elif ulysses > 1:
        reason = (
            f"ulysses_sequence_parallel_size: got {ulysses}, want 1; with it a rank has a part of each completion, and "
            "probes need all of it"
        )
    elif model.get("use_fused_kernels", False) or actor.get("use_fused_kernels", False):
        reason = "actor_rollout_ref.model.use_fused_kernels: got True, want False; it leaves no logits to read"
    elif loss == "geo_mean":
        reason = (
            f"actor.policy_loss.loss_mode: got {loss}, want one that reads an advantage for each token, such as "
            "vanilla; it takes their mean"
        )
    elif not is_finite_number(temperature) or temperature <= 0:
        reason = (
            f"actor_rollout_ref.rollout.temperature: got {temperature}, want a number above 0; greedy sampling has no "
            "distribution that information could be measured of"
        )
    if reason is not None:
        raise ValueError(reason)


def refuse_mode(config: Any) -> None:
    """Raise for the advantage estimator ``iapo`` with a trainer that measures no information.

    Raises:
        ValueError: that.
    """
    if config.algorithm.adv_estimator == "iapo":
        mode = config.trainer.v1.trainer_mode
        raise ValueError(
            f"trainer.v1.trainer_mode: got {mode}, which measures no information; with algorithm.adv_estimator=iapo "
            f"want iapo_{mode}"
        )


def refuse_processor(processor: Any) -> None:
    """Raise for a model that reads images.

    Raises:
        ValueError: that.
    """
    if processor is not None:
        raise ValueError(
            f"actor_rollout_ref.model.path: got a model with {type(processor).__name__}; information is measured of "
            "text models only"
        )


def refuse_assigner(config: Any, section: Section, token_advantages: TokenAdvantages) -> None:
    """Raise for an assigner that needs what verl does not have, or under which options have no effect.

    Raises:
        ValueError: an assigner that reads each reward by itself or columns about a reference policy, or that chooses
            completions by their order; one that computes an outcome of its own, and an option of how verl computes it;
            one completion of a prompt, and an outcome that compares it with others.
    """
    assigner = token_advantages.assigner
    name = type(assigner).__name__
    for part in _parts(assigner):
        if (per_group := getattr(part, "per_group", None)) is not None:
            raise ValueError(
                f"iapo.per_group: got {per_group}, want none; verl orders completions by their length "
                "(_balance_batch), so that the first of a group would be chosen by it"
            )
    if "reward_columns" in assigner.requires:
        raise ValueError(f"iapo.assigner: {name} reads each reward by itself, and verl has their sum; want another")
    if missing := sorted(REFERENCE & assigner.requires):
        raise ValueError(
            f"iapo.assigner: {name} needs {', '.join(missing)} of each problem, which verl does not hand on; want "
            "another"
        )
    _refuse_groups_of_one(config, section, _parts(assigner))
    if token_advantages.takes_outcome:
        return
    algorithm = config.algorithm
    for option, unused in (
        ("iapo.outcome", "outcome" in section.given),
        ("algorithm.use_kl_in_reward", algorithm.get("use_kl_in_reward", False)),
        ("algorithm.norm_adv_by_std_in_grpo", not algorithm.get("norm_adv_by_std_in_grpo", True)),
    ):
        if unused:
            raise ValueError(
                f"{option}: set, and {name} computes the outcome by itself, so that it would do nothing; leave it out, "
                "or let the assigner wrap iapo.advantages.GivenOutcome"
            )


def _refuse_groups_of_one(config: Any, section: Section, parts: Sequence[AdvantageAssigner]) -> None:
    """Raise for one completion of a prompt where it would be compared with the others of its prompt."""
    size, outcome = config.actor_rollout_ref.rollout.n, section.options.outcome
    compares = [
        f"{type(part).__name__} compares the completions of a prompt, and one alone has no baseline"
        for part in parts
        if isinstance(part, GFPO) or getattr(part, "allow_singletons", None) is False
    ]
    if isinstance(parts[-1], GivenOutcome) and outcome != "reinforce_plus_plus":
        compares.append(
            f"iapo.outcome={outcome} compares the completions of a prompt, and one alone has no baseline; that of "
            "iapo.outcome=reinforce_plus_plus is the batch's"
        )
    if (size is None or size < 2) and compares:
        raise ValueError(f"actor_rollout_ref.rollout.n: got {size}, want at least 2; {compares[0]}")


def _parts(assigner: AdvantageAssigner) -> list[AdvantageAssigner]:
    """An assigner, the one that it wraps, the one that this wraps, and so on."""
    parts: list[Any] = [assigner]
    while (inner := getattr(parts[-1], "outcome", None)) is not None:
        parts.append(inner)
    return parts


def refuse_split_sessions(keys: list[str]) -> None:
    """Raise if a session of an agent gave several rows, each of which would count as a completion of its group.

    Args:
        keys: of the rows of a batch, ``{uid}_{session}_{index}``, without those that fill it up.

    Raises:
        ValueError: that.
    """
    for key in keys:
        if not key.endswith("_0"):
            raise ValueError(
                f"agent loop: got row {key}, a second one of its session; each row would count as a completion of its "
                "group, and only the last has the answer. Use an agent loop that returns one output"
            )

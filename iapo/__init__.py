"""Information-aware policy optimization: RL post-training of language models that reward tokens for their information.

What a training loop needs is here: the interfaces, the records that flow between components, a default component of
each kind, and the loop itself (`update`, or its halves `prepare` and `optimise`). Further components are in
`iapo.advantages`, `iapo.estimators`, `iapo.losses`, `iapo.rewards`, `iapo.rollout` and `iapo.tasks`.

Each name is imported when it is first used: ``torch`` and ``transformers`` take seconds to import, in which a command
line has to be interrupted without a traceback already.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iapo.advantages import GroupRelative, InformationAware, LeaveOutPriced
    from iapo.estimators import AnswerLikelihood, EarlyExitEntropy, LeaveOut, NoInformation, TextBoundaries
    from iapo.evaluation import EvaluationResult, evaluate
    from iapo.interfaces import AdvantageAssigner, MIEstimator, PolicyLoss, PolicyOptimizer, Reward, Sampler
    from iapo.losses import ClippedPolicyLoss
    from iapo.optimizers import ClippedOptimizer
    from iapo.policy import load_model, load_tokenizer
    from iapo.rewards import MathAnswer, score_rollout
    from iapo.rollout import CompactingSampler, TransformersSampler
    from iapo.tasks import Task
    from iapo.training import Components, UpdateSettings, optimise, prepare, update
    from iapo.types import (
        AdvantageInputs,
        AdvantageOutput,
        LossInputs,
        LossOutput,
        Rollout,
        StepStats,
        TokenSignals,
    )

    __version__: str

_HOMES = {
    "iapo.advantages": ("GroupRelative", "InformationAware", "LeaveOutPriced"),
    "iapo.estimators": ("AnswerLikelihood", "EarlyExitEntropy", "LeaveOut", "NoInformation", "TextBoundaries"),
    "iapo.evaluation": ("EvaluationResult", "evaluate"),
    "iapo.interfaces": ("AdvantageAssigner", "MIEstimator", "PolicyLoss", "PolicyOptimizer", "Reward", "Sampler"),
    "iapo.losses": ("ClippedPolicyLoss",),
    "iapo.optimizers": ("ClippedOptimizer",),
    "iapo.policy": ("load_model", "load_tokenizer"),
    "iapo.rewards": ("MathAnswer", "score_rollout"),
    "iapo.rollout": ("CompactingSampler", "TransformersSampler"),
    "iapo.tasks": ("Task",),
    "iapo.training": ("Components", "UpdateSettings", "optimise", "prepare", "update"),
    "iapo.types": (
        "AdvantageInputs",
        "AdvantageOutput",
        "LossInputs",
        "LossOutput",
        "Rollout",
        "StepStats",
        "TokenSignals",
    ),
}
"""What is imported when it is first used, by the module that it comes from."""

__all__ = [
    "AdvantageAssigner",
    "AdvantageInputs",
    "AdvantageOutput",
    "AnswerLikelihood",
    "ClippedOptimizer",
    "ClippedPolicyLoss",
    "CompactingSampler",
    "Components",
    "EarlyExitEntropy",
    "EvaluationResult",
    "GroupRelative",
    "InformationAware",
    "LeaveOut",
    "LeaveOutPriced",
    "LossInputs",
    "LossOutput",
    "MIEstimator",
    "MathAnswer",
    "NoInformation",
    "PolicyLoss",
    "PolicyOptimizer",
    "Reward",
    "Rollout",
    "Sampler",
    "StepStats",
    "Task",
    "TextBoundaries",
    "TokenSignals",
    "TransformersSampler",
    "UpdateSettings",
    "__version__",
    "evaluate",
    "load_model",
    "load_tokenizer",
    "optimise",
    "prepare",
    "score_rollout",
    "update",
]


def __getattr__(name: str) -> Any:
    """Import a name of `_HOMES`, or one of these modules, or look the version up, when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("iapo")
    if f"iapo.{name}" in _HOMES:
        return import_module(f"iapo.{name}")
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(home), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""The flags of ``iapo train``, and those that it shares with the other commands."""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from pydoc import locate
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from torch import nn
from torch.optim import Optimizer

from iapo.interfaces import AdvantageAssigner, MIEstimator, PolicyLoss, Sampler
from iapo.policy.loading import load_tokenizer
from iapo.styles import CompletionStyle
from iapo.tasks import Task, task_from_source
from iapo.tokenization.continuation import continuation_ids
from iapo.training.configuration.file_parser import FileParser
from iapo.training.configuration.plain_files import import_path
from iapo.training.configuration.policy_source import PolicySource
from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.configuration.settings import RunSettings
from iapo.training.configuration.styles import StyleSource

SamplerFactory = Callable[[nn.Module, Any], Sampler]
OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
RewardFunctions = dict[str, Callable[..., list]]

SAMPLER = {"class_path": "iapo.rollout.CompactingSampler", "init_args": {"max_new_tokens": 128}}
REWARDS = {"accuracy": {"class_path": "iapo.rewards.MathAnswer"}}
_ESTIMATOR = {
    "class_path": "iapo.estimators.LeaveOut",
    "init_args": {"boundaries": {"class_path": "iapo.estimators.TextBoundaries"}},
}
_ASSIGNER = {
    "class_path": "iapo.advantages.LeaveOutPriced",
    "init_args": {"outcome": {"class_path": "iapo.advantages.GroupRelative"}},
}
_ADAMW = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 5e-4, "weight_decay": 0.0}}


_LINK = re.compile(r"Call to compute_fn of link .*? failed: ")


def without_link(text: str) -> str:
    """An error of a flag that follows from others, the model is not found, say, without how the parser begins it."""
    return _LINK.sub("", text)


def train_parser() -> ArgumentParser:
    """Flags of ``iapo train``: the fields of the settings, flat, and the components by import path."""
    parser = command_parser(
        "Train a policy; write metrics, checkpoints and a report of before and after into a run folder."
    )
    parser.add_class_arguments(PolicySource)
    parser.add_class_arguments(ProblemSource)
    parser.add_class_arguments(RunSettings, skip={"resume", "override"})
    add = parser.add_argument
    add("--resume", action="store_true", help="go on from the newest checkpoint of the run folder, if it has one")
    add("--override", action="store_true", help="resume although settings, data or versions differ")
    add_component_flags(parser, _ESTIMATOR)
    parser.add_subclass_arguments(AdvantageAssigner, "assigner", default=_ASSIGNER)
    loss = {"class_path": "iapo.losses.ClippedPolicyLoss"}
    parser.add_subclass_arguments(PolicyLoss, "loss", default=loss)
    parser.add_argument(
        "--optimizer", type=OptimizerFactory, default=_ADAMW, help="torch optimizer, called with the parameters"
    )
    return parser


def command_parser(description: str) -> ArgumentParser:
    """A parser of a command whose settings may come from a file."""
    parser = FileParser(description=description)
    parser.add_argument("--config", action="config", help="YAML file of settings; flags override it, before it too")
    return parser


def add_component_flags(parser: ArgumentParser, estimator: dict[str, Any]) -> None:
    """Sampler, rewards and estimator, the last with this default.

    The estimator's token ids follow from texts and the model's tokenizer, and so do those of an estimator inside it,
    such as that of `Refined`. The texts are those of the style of completions; where that is found in samples, tags
    stand in for it until then (`iapo.training.configuration.styles`). Its temperature is the sampler's.
    """
    add = parser.add_argument
    add_style_flags(parser)
    add("--sampler", type=SamplerFactory, default=SAMPLER, help="called with model and tokenizer")
    add("--rewards", type=RewardFunctions, default=REWARDS, help="reward functions by name")
    parser.add_subclass_arguments(MIEstimator, "estimator", default=estimator)
    for owner in ("estimator.init_args", "estimator.init_args.estimator.init_args"):
        for text in ("postfix", "closing"):
            parser.link_arguments(
                ("model", "trust_remote_code", "data", "task", text), f"{owner}.{text}_ids", compute_fn=_IDS[text]
            )
        parser.link_arguments("sampler", f"{owner}.temperature", compute_fn=_temperature)
        tokenizer = f"{owner}.boundaries.init_args.tokenizer"
        parser.link_arguments(("model", "trust_remote_code"), tokenizer, compute_fn=_tokenizer)


def add_style_flags(parser: ArgumentParser) -> None:
    """How completions reason and answer, and whether rewards are lenient."""
    parser.add_class_arguments(StyleSource, skip={"lenient"})
    help_ = "an answer also counts where the completion was cut, or marks none"
    parser.add_argument("--lenient", type=bool, nargs="?", const=True, default=False, help=help_)


def _ids_of(style_text: str) -> Callable[..., tuple[int, ...]]:
    """The function that gives an estimator the tokens of one of the texts of an answer style."""

    def ids(model: str, trust_remote_code: bool, data: str | list[str], task: Any, text: str | None) -> tuple[int, ...]:
        if text is None:
            text = getattr(_task(data, task).style or CompletionStyle(), style_text)
        return _encode(model, trust_remote_code, text)

    return ids


_IDS = {text: _ids_of(text) for text in ("postfix", "closing")}


def _task(data: str | list[str], task: Task | Namespace | None) -> Task:
    """The task of the flags; a parser hands over what is not instantiated yet."""
    if task is None:
        return task_from_source(data)
    if isinstance(task, Task):
        return task
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Task, "task")
    return parser.instantiate(Namespace(task=task)).task


def _temperature(sampler: Any) -> float:
    """The sampler's temperature, as it is given or its class's; 1 for a greedy one, which has no distribution."""
    return float(_setting(sampler, "temperature", 1.0)) or 1.0


def max_new_tokens(sampler: Any) -> int:
    """The longest completion of a sampler that is not made yet, in tokens; 0 if it does not say."""
    return int(_setting(sampler, "max_new_tokens", 0))


def keeps_rows_apart(sampler: Any) -> bool:
    """`iapo.rollout.LanguageModelSampler.keeps_rows_apart` of a sampler that is not made yet; ``True`` of others."""
    return bool(_setting(sampler, "keeps_rows_apart", True))


def _setting(sampler: Any, name: str, unknown: Any) -> Any:
    """A field of a sampler, as it is given or its class's; ``unknown`` of a function that makes one."""
    if callable(sampler) or isinstance(sampler, str):
        return unknown
    given = sampler.get("init_args") or {}
    return given.get(name, getattr(locate(import_path(sampler["class_path"])), name, unknown))


_tokenizer = lru_cache(load_tokenizer)


def _encode(model: str, trust_remote_code: bool, text: str) -> tuple[int, ...]:
    return continuation_ids(_tokenizer(model, trust_remote_code), text) if text else ()

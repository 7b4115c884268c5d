"""The flags of each command, with their defaults: the embedded task and what works on it."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from jsonargparse import ArgumentParser
from torch import nn
from torch.optim import Optimizer

from iapo.interfaces import AdvantageAssigner, MIEstimator, PolicyLoss, Sampler
from iapo.policy.loading import load_tokenizer
from iapo.training.loop import Answer

_SamplerFactory = Callable[[nn.Module, Any], Sampler]
_OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
_RewardFunctions = dict[str, Callable[..., list]]

_GROUP_RELATIVE = {"class_path": "iapo.advantages.GroupRelative"}
_INFORMATION_AWARE = {
    "class_path": "iapo.advantages.InformationAware",
    "init_args": {"outcome": _GROUP_RELATIVE},
}
_SAMPLER = {"class_path": "iapo.rollout.CompactingSampler", "init_args": {"max_new_tokens": 128}}
_ADAMW = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 5e-4, "weight_decay": 0.0}}


def train_parser() -> ArgumentParser:
    """Flags of ``iapo train``."""
    parser = _parser("Train a policy; write metrics, checkpoints and a report of before and after into a run folder.")
    _source_flags(parser)
    add = parser.add_argument
    add("--output", type=str, default="runs/embedded", help="run folder")
    add("--resume", action="store_true", help="go on from the newest checkpoint of the run folder, if it has one")
    add("--override", action="store_true", help="resume although settings or versions differ")
    add("--steps", type=int, default=60, help="updates, at most")
    add("--max_tokens", type=int | None, default=None, help="end after the update in which so many tokens are sampled")
    add("--prompts_per_step", type=int, default=32, help="prompts of an update")
    add("--group_size", type=int, default=8, help="completions of a prompt")
    add("--micro_batch", type=int, default=32, help="completions per forward: memory and speed, not the update")
    add("--epochs", type=int, default=1, help="optimizer steps on the same completions")
    add("--resample", type=int, default=0, help="rounds in which groups of equal rewards give way to fresh prompts")
    add(
        "--diagnose",
        type=int,
        default=10,
        help="every how many updates the length and the information are diagnosed; 0: never",
    )
    add("--answer", type=Answer, default="own", help="what the estimator is asked about: the own or reference answer")
    _component_flags(parser)
    parser.add_subclass_arguments(AdvantageAssigner, "assigner", default=_INFORMATION_AWARE, required=False)
    default_loss = {"class_path": "iapo.losses.ClippedPolicyLoss"}
    parser.add_subclass_arguments(PolicyLoss, "loss", default=default_loss, required=False)
    add("--optimizer", type=_OptimizerFactory, default=_ADAMW, help="torch optimizer, called with the parameters")
    add("--warmup_steps", type=int, default=0, help="steps over which the learning rate rises")
    add("--max_grad_norm", type=float, default=1.0, help="the gradient is scaled down to this L2 norm")
    add("--eval_problems", type=int, default=256, help="problems held out for the report")
    add("--eval_samples", type=int, default=4, help="completions of each held-out problem")
    add("--checkpoint_every", type=int, default=20, help="steps between checkpoints")
    add("--keep_checkpoints", type=int, default=2, help="checkpoints kept")
    return parser


def eval_parser() -> ArgumentParser:
    """Flags of ``iapo eval``."""
    parser = _parser("Pass@k, Length@k, Ratio@k, Pass@1 and greedy of one or several models on the same problems.")
    _source_flags(parser, with_model=False)
    add = parser.add_argument
    add("--models", type=list[str], default=["embedded"], help="models: directories, checkpoints, hub ids, GGUF files")
    add("--problems", type=int, default=256, help="how many problems, those held out by the same number in training")
    add("--samples", type=int, default=32, help="completions of each problem")
    add("--ks", type=list[int], default=[1, 2, 4, 8, 16, 32], help="values of k, none above the samples")
    add("--sampler", type=_SamplerFactory, default=_SAMPLER, help="called with model and tokenizer")
    add("--rewards", type=_RewardFunctions, default=_accuracy(), help="reward functions by name")
    add("--output", type=str | None, default=None, help="a .json file for all numbers, a table goes to standard output")
    return parser


def inspect_parser() -> ArgumentParser:
    """Flags of ``iapo inspect``."""
    parser = _parser("Sample reasoning for one prompt and color every token by what it told about the answer.")
    _source_flags(parser)
    add = parser.add_argument
    add("--prompt", type=str | None, default=None, help="the problem; left out: one of the data")
    add("--index", type=int, default=0, help="which problem of the data")
    add("--samples", type=int, default=3, help="completions")
    add("--html", type=str | None, default=None, help="file for the page")
    add("--answer", type=Answer, default="own", help="what the estimator is asked about: the own or reference answer")
    _component_flags(parser)
    return parser


def compare_parser() -> ArgumentParser:
    """Flags of ``iapo compare``."""
    parser = ArgumentParser(description="Run methods by seeds from one YAML file; write one page that compares them.")
    add = parser.add_argument
    add("comparison", type=str, help="YAML file of methods, seeds and problems")
    add("--output", type=str, default="runs/compare", help="folder of the runs and the page; what is finished is kept")
    add("--only-report", action="store_true", help="write the page from the runs that are finished, start none")
    return parser


def _accuracy() -> dict[str, Any]:
    return {"accuracy": {"class_path": "iapo.rewards.MathAnswer"}}


def _parser(description: str) -> ArgumentParser:
    parser = ArgumentParser(description=description)
    parser.add_argument("--config", action="config", help="YAML file of settings; flags after it override it")
    return parser


def _source_flags(parser: ArgumentParser, with_model: bool = True) -> None:
    add = parser.add_argument
    if with_model:
        add("--model", type=str, default="embedded", help="embedded, a directory, a hub id, or a .gguf file")
    add("--seed", type=int, default=0, help="of everything random")
    add("--device", type=str, default="auto", help="auto: CUDA if there is one, else the CPU")
    add("--precision", type=str, default="auto", help="of forwards: bf16, fp32, or auto (bf16 on CUDA)")
    add("--trust_remote_code", type=bool, default=False, help="run code that comes with a model")
    add(
        "--data",
        type=str,
        default="embedded",
        help="embedded, a .jsonl, .csv or .parquet file, reasoning-gym:TASK, a hub id",
    )
    add("--split", type=str, default="train", help="split of a hub data set")
    add("--limit", type=int | None, default=None, help="use only so many rows")
    add("--prompt_column", type=str, default="prompt", help="column of the problems")
    add("--answer_column", type=str, default="answer", help="column of the reference answers")
    add("--prompt_template", type=str | None, default=None, help="text around the problem, with {prompt} in it")
    add("--system_prompt", type=str | None, default=None, help="text before the problem, through the chat template")


def _component_flags(parser: ArgumentParser) -> None:
    """Sampler, rewards and estimator.

    The estimator's token ids follow from texts and the model's tokenizer, and so do those of an estimator inside it,
    such as that of `Refined`.
    """
    add = parser.add_argument
    add("--postfix", type=str, default="</think><answer>", help="text that closes the reasoning and opens the answer")
    add("--closing", type=str, default="</answer>", help="text that ends the answer")
    add("--sampler", type=_SamplerFactory, default=_SAMPLER, help="called with model and tokenizer")
    add("--rewards", type=_RewardFunctions, default=_accuracy(), help="reward functions by name")
    default = {"class_path": "iapo.estimators.AnswerLikelihood"}
    parser.add_subclass_arguments(MIEstimator, "estimator", default=default, required=False)
    for owner in ("estimator.init_args", "estimator.init_args.estimator.init_args"):
        for text, ids in (("postfix", "postfix_ids"), ("closing", "closing_ids")):
            parser.link_arguments(("model", text, "trust_remote_code"), f"{owner}.{ids}", compute_fn=_encode)


@lru_cache
def _encode(model: str, text: str, trust_remote_code: bool) -> tuple[int, ...]:
    return tuple(load_tokenizer(model, trust_remote_code).encode(text, add_special_tokens=False))

"""The flags of the commands beside ``iapo train``, whose flags are in `iapo.training.parser`."""

from jsonargparse import ArgumentParser

from iapo.training.components import Answer
from iapo.training.parser import REWARDS, SAMPLER, RewardFunctions, SamplerFactory, add_component_flags, command_parser
from iapo.training.settings import PolicySource, ProblemSource


def eval_parser() -> ArgumentParser:
    """Flags of ``iapo eval``."""
    parser = command_parser("Pass@k, Length@k, Ratio@k, Pass@1 and greedy of several models on the same problems.")
    parser.add_class_arguments(PolicySource, skip={"model"})
    parser.add_class_arguments(ProblemSource)
    add = parser.add_argument
    add("--seed", type=int, default=0, help="of everything random")
    add("--models", type=list[str], default=["embedded"], help="models: directories, checkpoints, hub ids, GGUF files")
    add("--problems", type=int, default=256, help="how many problems, those held out by the same number in training")
    add("--samples", type=int, default=32, help="completions of each problem")
    add("--ks", type=list[int], default=[1, 2, 4, 8, 16, 32], help="values of k, none above the samples")
    add("--sampler", type=SamplerFactory, default=SAMPLER, help="called with model and tokenizer")
    add("--rewards", type=RewardFunctions, default=REWARDS, help="reward functions by name")
    add("--output", type=str | None, default=None, help="a .json file for all numbers, a table goes to standard output")
    return parser


def inspect_parser() -> ArgumentParser:
    """Flags of ``iapo inspect``."""
    parser = command_parser("Sample reasoning for one prompt and color every token by its information.")
    parser.add_class_arguments(PolicySource)
    parser.add_class_arguments(ProblemSource)
    add = parser.add_argument
    add("--seed", type=int, default=0, help="of everything random")
    add("--prompt", type=str | None, default=None, help="the problem; left out: one of the data")
    add("--index", type=int, default=0, help="which problem of the data")
    add("--samples", type=int, default=3, help="completions")
    add("--html", type=str | None, default=None, help="file for the page")
    add("--answer", type=Answer, default="own", help="what the estimator is asked about: the own or reference answer")
    add_component_flags(parser)
    return parser


def compare_parser() -> ArgumentParser:
    """Flags of ``iapo compare``."""
    parser = ArgumentParser(description="Run methods by seeds from one YAML file; write one page that compares them.")
    add = parser.add_argument
    add("comparison", type=str, help="YAML file of methods, seeds and problems")
    add("--output", type=str, default="runs/compare", help="folder of the runs and the page; what is finished is kept")
    add("--only-report", action="store_true", help="write the page from the runs that are finished, start none")
    return parser

"""The flags of the commands beside ``iapo train``, whose flags are in `iapo.training.parser`."""

from jsonargparse import ArgumentParser

from iapo.commands.evaluate import EvaluationSettings
from iapo.commands.inspect import InspectionSettings
from iapo.training.file_parser import FileParser
from iapo.training.parser import (
    REWARDS,
    SAMPLER,
    RewardFunctions,
    SamplerFactory,
    add_component_flags,
    add_style_flags,
    command_parser,
)
from iapo.training.settings import PolicySource, ProblemSource


def eval_parser() -> ArgumentParser:
    """Flags of ``iapo eval``."""
    parser = command_parser(
        "Accuracy and length, at a budget of reasoning tokens, of k samples and greedy, of several models on the same "
        "problems."
    )
    parser.add_class_arguments(PolicySource, skip={"model"})
    parser.add_class_arguments(ProblemSource)
    add_style_flags(parser)
    parser.add_class_arguments(EvaluationSettings)
    add = parser.add_argument
    add("--sampler", type=SamplerFactory, default=SAMPLER, help="called with model and tokenizer")
    add("--rewards", type=RewardFunctions, default=REWARDS, help="reward functions by name")
    return parser


def inspect_parser() -> ArgumentParser:
    """Flags of ``iapo inspect``."""
    parser = command_parser("Sample reasoning for one prompt and color every token by its information.")
    parser.add_class_arguments(PolicySource)
    parser.add_class_arguments(ProblemSource)
    parser.add_class_arguments(InspectionSettings)
    parser.add_argument("--html", type=str | None, default=None, help="file for the page")
    add_component_flags(parser, {"class_path": "iapo.estimators.AnswerLikelihood"})
    return parser


def compare_parser() -> ArgumentParser:
    """Flags of ``iapo compare``."""
    parser = FileParser(description="Run methods by seeds from one YAML file; write one page that compares them.")
    add = parser.add_argument
    add("comparison", type=str, help="YAML file of methods, seeds and problems")
    add("--output", type=str, default="runs/compare", help="folder of the runs and the page; what is finished is kept")
    add("--only-report", action="store_true", help="write the page from the runs that are finished, start none")
    return parser

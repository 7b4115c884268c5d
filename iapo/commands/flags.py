"""The flags of the commands beside ``iapo train``, whose flags are in `iapo.training.configuration.parser`."""

from jsonargparse import ArgumentParser

from iapo.commands.evaluation_settings import EvaluationSettings
from iapo.commands.inspect import InspectionSettings
from iapo.commands.show import ShowSettings
from iapo.training.configuration.file_parser import FileParser
from iapo.training.configuration.parser import (
    REWARDS,
    SAMPLER,
    RewardFunctions,
    SamplerFactory,
    add_component_flags,
    add_style_flags,
    command_parser,
    train_parser,
)
from iapo.training.configuration.policy_source import PolicySource
from iapo.training.configuration.problem_source import ProblemSource

SWITCHES = {
    "right": "only completions that are right",
    "wrong": "only completions that are wrong",
    "shortest": "the shortest first",
    "longest": "the longest first",
    "training": "those of updates, in place of evaluations",
}
"""Flags of ``iapo show`` that take no value."""


def parser_of(command: str) -> ArgumentParser:
    """The parser of a command."""
    makers = {"train": train_parser, "eval": eval_parser, "inspect": inspect_parser}
    makers |= {"compare": compare_parser, "show": show_parser, "export": export_parser}
    return makers[command]()


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
    add("--only_report", action="store_true", help="write the page from the runs that are finished, start none")
    add("--override", action="store_true", help="runs that have begun go on although versions or threads differ")
    return parser


def show_parser() -> ArgumentParser:
    """Flags of ``iapo show``."""
    parser = FileParser(description="Print sampled texts of a run or an evaluation with their rewards.")
    parser.add_argument("run", type=str, help="run folder, or the .json or .jsonl file of an evaluation")
    parser.add_class_arguments(ShowSettings, skip=set(SWITCHES))
    for name, what in SWITCHES.items():
        parser.add_argument(f"--{name}", action="store_true", help=what)
    return parser


def export_parser() -> ArgumentParser:
    """Flags of ``iapo export``."""
    parser = FileParser(
        description="Write the policy of a run as a folder of the Hugging Face kind, with a model card."
    )
    add = parser.add_argument
    add("run", type=str, help="run folder, or a checkpoint-N folder in it")
    add("--output", type=str, required=True, help="folder that is made; it must not be there")
    add(
        "--adapter", action="store_true", help="keep trained adapters apart; left out, they are merged into the weights"
    )
    return parser

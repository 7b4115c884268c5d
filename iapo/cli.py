"""`iapo train | eval | inspect | compare`: from the command line to calls."""

import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

_MAY_CHANGE = (
    *("config", "output", "resume", "override", "device", "checkpoint_every", "keep_checkpoints", "diagnose"),
    *("steps", "max_tokens"),
)
"""Settings of a run that may differ when it is taken up again: they do not change what an update computes (the limits
do, where a weight has a schedule)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; the entry point of ``iapo``.

    Returns:
        The exit code: 0, 1 for an error that is reported in one line, 75 for a training run that a signal ended after
        it saved. A command line that cannot be parsed exits with 2.
    """
    try:
        from iapo.commands.flags import FileParser, compare_parser, eval_parser, inspect_parser
        from iapo.training.parser import train_parser
    except ModuleNotFoundError as error:
        print(f"iapo: {error.name} is missing: install the extra, pip install 'iapo[train]'", file=sys.stderr)
        return 1
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    parsers = {"train": train_parser(), "eval": eval_parser(), "inspect": inspect_parser()}
    parsers["compare"] = compare_parser()
    parser = FileParser(prog="iapo", description="Information-aware policy optimization of language models.")
    commands = parser.add_subcommands()
    for name, command in parsers.items():
        commands.add_subcommand(name, command, help=command.description)
    settings = parser.parse_args(arguments)
    name = settings.subcommand
    plain = json.loads(parsers[name].dump(settings[name], format="json", skip_unset=False))
    try:
        parts = parsers[name].instantiate(settings[name]).as_dict()
        # The texts of the answer style are in the estimator already; evaluation reads them itself.
        for unused in ("config",) if name == "eval" else ("config", "postfix", "closing"):
            parts.pop(unused, None)
        return _run(name, parts, plain)
    except (ValueError, OSError, ModuleNotFoundError, FloatingPointError) as error:
        print(f"iapo {name}: {error}", file=sys.stderr)
        return 1


def _run(name: str, parts: dict[str, Any], plain: dict[str, Any]) -> int:
    """Call a command with its parts as records."""
    from iapo.training.plain_files import digests
    from iapo.training.settings import PolicySource, ProblemSource, RunSettings

    def record(kind: type) -> Any:
        return kind(**{field.name: parts.pop(field.name) for field in fields(kind) if field.name in parts})

    if name == "compare":
        from iapo.commands.compare import compare

        return compare(**parts)
    policy, problems = record(PolicySource), record(ProblemSource)
    if name == "train":
        from iapo.training.run import train
        from iapo.training.session import ComponentChoices

        resolved = {key: value for key, value in plain.items() if key not in _MAY_CHANGE}
        resolved["files"] = digests(resolved)
        return train(policy, problems, record(RunSettings), ComponentChoices(**parts), resolved)
    if name == "eval":
        from iapo.commands.evaluate import EvaluationSettings, evaluate_models

        print(evaluate_models(policy, problems, record(EvaluationSettings), **parts))
        return 0
    from rich.console import Console

    from iapo.commands.inspect import InspectionSettings, inspect_prompt, write_page
    from iapo.inspection import render_terminal

    page = parts.pop("html")
    inspection = inspect_prompt(policy, problems, record(InspectionSettings), **parts)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    render_terminal(inspection, Console())
    if page is not None:
        write_page(inspection, page)
    return 0


if __name__ == "__main__":
    sys.exit(main())

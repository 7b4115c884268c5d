"""A task of one's own is named on the command line by import path."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from iapo.cli import main
from iapo.embedded import generate_problems, rows
from iapo.styles import CompletionStyle
from iapo.tasks import Row, Split, Task
from iapo.training.configuration.parser import train_parser

TINY = [
    *("--steps", "1", "--prompts_per_step", "2", "--group_size", "2", "--sampler.max_new_tokens", "8"),
    *("--eval_problems", "2", "--eval_samples", "1", "--diagnose", "1"),
]


@dataclass(frozen=True)
class OneDifficulty(Task):
    """Chains of one difficulty, which the embedded model can read."""

    difficulty: int = 2
    style = CompletionStyle(ends="</answer><eos>")

    def __str__(self) -> str:
        return f"chains of {self.difficulty}"

    def rows(self, split: Split = "train", seed: int = 0, limit: int | None = None) -> list[Row]:
        return [dict(row) for row in rows(generate_problems(limit or 16, 0, split, self.difficulty))]


TASK = ["--task", f"{__name__}.OneDifficulty", "--task.difficulty", "3"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_train_on_a_task_by_import_path(tmp_path: Path) -> None:
    assert main(["train", "--output", str(tmp_path / "run"), *TASK, *TINY]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["task"] == {"class_path": f"{__name__}.OneDifficulty", "init_args": {"difficulty": 3}}
    assert "chains of 3" in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_eval_on_a_task_by_import_path(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    numbers = ["--problems", "2", "--samples", "1", "--ks", "[1]", "--sampler.max_new_tokens", "8"]
    output = tmp_path / "eval.json"
    assert main(["eval", *TASK, *numbers, "--output", str(output)]) == 0
    assert "embedded" in capsys.readouterr().out
    assert json.loads(output.read_text())["settings"]["data"] == "chains of 3"
    assert main(["eval", *TASK, *numbers, "--prompt_column", "question"]) == 1
    assert "chains of 3 has no column ['question']" in capsys.readouterr().err


def test_the_style_gives_the_estimators_tokens() -> None:
    parser, asked = train_parser(), ["--estimator", "AnswerLikelihood"]
    own, embedded = (parser.parse_args(flags).estimator.init_args for flags in ([*TASK, *asked], asked))
    assert own.postfix_ids == embedded.postfix_ids
    assert len(own.closing_ids) == len(embedded.closing_ids) + 1
    given = parser.parse_args([*TASK, *asked, "--closing", "</answer>"]).estimator.init_args
    assert given.closing_ids == embedded.closing_ids

"""The problems of a run: split before it is known which fit, and those that fit keep their places in the data."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from iapo.advantages import GroupRelative
from iapo.embedded import model_path
from iapo.estimators import NoInformation
from iapo.losses import ClippedPolicyLoss
from iapo.policy.limits import Limits
from iapo.policy.loading import load_tokenizer
from iapo.rewards import ExactAnswer
from iapo.training.configuration.policy_source import PolicySource
from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.configuration.run_config import ComponentChoices, RunConfig
from iapo.training.configuration.settings import RunSettings
from iapo.training.setup.fitting import Room
from iapo.training.setup.problems import RunProblems

COUNT, HELD_OUT, SHOTS = 40, 8, 2
TOKENIZER = load_tokenizer(str(model_path()))


def _not_called(*arguments: object) -> None:
    raise AssertionError("problems are read before there is a policy")


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., RunProblems]:
    """Reads problems of growing length."""
    rows = [{"prompt": f"{i}+{'1' * (i % 5 + 1)}=", "answer": f"so #### {i}"} for i in range(COUNT)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    choices = ComponentChoices(
        _not_called, {"answer": ExactAnswer()}, NoInformation(), GroupRelative(), ClippedPolicyLoss(), _not_called
    )

    def read(few_shot: int = 0, **settings: object) -> RunProblems:
        source = ProblemSource(data=str(tmp_path / "data.jsonl"), few_shot=few_shot)
        run = RunSettings(output=str(tmp_path / "run"), eval_problems=HELD_OUT, prompts_per_step=4, **settings)
        return RunProblems.read(RunConfig(PolicySource(), source, run, choices, {}))

    return read


def test_each_row_is_trained_on_or_held_out_or_an_example(read: Callable[..., RunProblems]) -> None:
    problems = read(few_shot=SHOTS)
    parts = problems.training, problems.held_out, problems.all.shots
    assert [len(part) for part in parts] == [COUNT - HELD_OUT - SHOTS, HELD_OUT, SHOTS]
    assert sorted(index for part in parts for index in part) == list(range(COUNT))
    rendered = problems.rendered(TOKENIZER)
    assert (rendered.training, rendered.held_out, rendered.all.examples) == (*parts[:2], problems.all.examples)
    for index in problems.training:
        prompt, own = rendered.all.rows[index]["prompt"], problems.all.rows[index]["prompt"]
        assert own in prompt
        assert all(prompt.index(each["prompt"]) < prompt.rindex(own) for each in problems.all.examples)


def test_rows_that_fit_keep_their_places_and_their_side(read: Callable[..., RunProblems]) -> None:
    problems = read().rendered(TOKENIZER)
    fitting = problems.fitting(Room(TOKENIZER, Limits(8, len(TOKENIZER)), reserved=2, long_prompts="drop"))
    rows = problems.all.rows
    short = {i for i in range(COUNT) if len(rows[i]["prompt"]) + 2 <= 8}
    assert 0 < len(short) < COUNT
    assert [place.index for place in fitting.training.places] == [i for i in problems.training if i in short]
    assert fitting.training.rows == [rows[i] for i in problems.training if i in short]
    assert fitting.held_out.rows == [rows[i] for i in problems.held_out if i in short]


def test_prompts_are_encoded_once(read: Callable[..., RunProblems], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are rendered; whether they fit is asked again once the style is found."""
    problems = read().rendered(TOKENIZER)
    monkeypatch.setattr(type(TOKENIZER), "__call__", _not_called)
    room = Room(TOKENIZER, Limits(8, len(TOKENIZER)), reserved=2, long_prompts="drop")
    training = problems.fitting(room).training
    assert training.fitting(room).rows == training.rows


def test_references_are_read_where_they_are_asked_about(read: Callable[..., RunProblems]) -> None:
    assert read().references == []
    assert read(answer="reference").references == [str(i) for i in range(COUNT)]

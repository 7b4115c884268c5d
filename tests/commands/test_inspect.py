"""`iapo inspect`: what is refused before a model loads, and what the numbers are of."""

import json
import time

import pytest
import torch

from iapo.commands.inspect import InspectionConfig, InspectionSettings, chosen_problem, inspect_prompt
from iapo.estimators import AnswerLikelihood, NextTokenEntropy, NoInformation
from iapo.rewards import MathAnswer
from iapo.rollout import ScriptedSampler, TransformersSampler
from iapo.rollout.prompts import encode_prompts
from iapo.training.configuration.policy_source import PolicySource
from iapo.training.configuration.problem_source import ProblemSource


def inspected(*parts):
    return inspect_prompt(InspectionConfig(*parts))


class Unloaded(PolicySource):
    def load(self, checkpoint=None):
        raise AssertionError("a model was to be loaded")


@pytest.mark.parametrize(
    ("rewards", "settings", "message"),
    [
        ({"own": lambda completions, hint, **_: [0.0]}, {}, r"'own' needs the columns \['hint'\]"),
        ({"accuracy": MathAnswer()}, {"index": 1}, r"references of 1 of 1 rows, first that of row 1 \(line 2\)"),
        ({"own": lambda completions, **_: [0.0]}, {"index": 2, "answer": "reference"}, r"that of row 2 \(line 3\)"),
    ],
)
def test_what_the_data_lack_is_named_before_a_model_loads(rewards, settings, message, tmp_path):
    data = tmp_path / "data.jsonl"
    answers = ["2", "2 + (", " "]
    data.write_text("".join(json.dumps({"prompt": "1+1=", "answer": answer}) + "\n" for answer in answers))
    problems, estimator = ProblemSource(data=str(data)), AnswerLikelihood((1,))
    with pytest.raises(ValueError, match=message):
        inspected(Unloaded(), problems, InspectionSettings(**settings), None, rewards, estimator)


def test_a_prompt_and_a_row_stand_behind_the_same_examples(tmp_path):
    data = tmp_path / "data.jsonl"
    rows = [{"prompt": f"{i}+1=", "answer": f"so #### {i + 1}"} for i in range(9)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = ProblemSource(data=str(data), few_shot=2)
    given = chosen_problem(source, InspectionSettings(prompt="5+5="))
    assert (given.rows, given.places) == ([{"prompt": "5+5="}], ["0 (--prompt)"])
    assert given.examples == [rows[index] for index in given.shots]
    index = next(index for index in range(9) if index not in given.shots)
    row = chosen_problem(source, InspectionSettings(index=index))
    assert (row.rows, row.examples) == ([rows[index]], given.examples)
    for index, message in ((given.shots[0], "is one of the examples"), (9, "got 9, want 0 to 8")):
        with pytest.raises(ValueError, match=f"index: .*{message}"):
            chosen_problem(source, InspectionSettings(index=index))


def test_numbers_are_those_of_the_policy_that_samples_and_a_score_that_is_not_there_is_none():
    rewards = {"own": lambda completions, **_: [None] * len(completions)}
    found = inspected(
        PolicySource(device="cpu"),
        ProblemSource(limit=8),
        InspectionSettings(samples=1),
        lambda model, tokenizer: TransformersSampler(model, tokenizer, max_new_tokens=6, temperature=3.0),
        rewards,
        AnswerLikelihood((1,), temperature=3.0),
    ).traces[0]
    assert found.reward is None
    model, tokenizer = PolicySource(device="cpu").load()
    with torch.no_grad():
        logits = model(torch.tensor(encode_prompts([found.prompt], tokenizer))).logits[0, -1]
    first = torch.distributions.Categorical(logits=logits / 3.0).entropy()
    assert found.policy_entropy[0] == pytest.approx(float(first), rel=1e-3)


@pytest.mark.parametrize("score", [None, 0.0])
def test_a_completion_that_could_not_be_scored_has_no_reward(score):
    def every(completions, **_):
        return [score] * len(completions)

    shown = inspected(
        PolicySource(),
        ProblemSource(),
        InspectionSettings(samples=2),
        lambda model, tokenizer: TransformersSampler(model, tokenizer, 4),
        {"every": every},
        NoInformation(),
    )
    assert [trace.reward for trace in shown.traces] == [score, score]


def test_a_reward_may_take_as_long_as_the_settings_say():
    with pytest.raises(TimeoutError, match=r"reward 'slow' took longer than 0.1 s .* raise reward_time_limit"):
        inspected(
            PolicySource(),
            ProblemSource(),
            InspectionSettings(samples=1, reward_time_limit=0.1),
            lambda model, tokenizer: TransformersSampler(model, tokenizer, 4),
            {"slow": lambda completions, **_: time.sleep(5) or [1.0]},
            NoInformation(),
        )


def test_the_estimator_is_asked_once(monkeypatch):
    asked, probe = [], NextTokenEntropy.probe

    def counted(self, model, rollout):
        asked.append(probe(self, model, rollout))
        return asked[-1]

    monkeypatch.setattr(NextTokenEntropy, "probe", counted)
    shown = inspected(
        PolicySource(device="cpu"),
        ProblemSource(),
        InspectionSettings(samples=2),
        lambda model, tokenizer: TransformersSampler(model, tokenizer, 12),
        {"none": lambda completions, **_: [0.0] * len(completions)},
        NextTokenEntropy(),
    )
    (probes,) = asked
    for row, trace in enumerate(shown.traces):
        at = [place for place, measured in enumerate(trace.measured) if measured]
        assert at
        assert [trace.probes[place] for place in at] == probes[row, at].tolist()
        for place in at:
            found = float(probes[row, place] - probes[row, place + 1])
            assert trace.information[place] == pytest.approx(found, abs=1e-6)


def test_a_sampler_that_does_not_say_its_longest_completion_is_told():
    with pytest.warns(UserWarning, match="sampler: ScriptedSampler has no max_new_tokens"):
        inspected(
            PolicySource(),
            ProblemSource(),
            InspectionSettings(samples=1),
            lambda model, tokenizer: ScriptedSampler(lambda prompt, index: "1</think><answer>7</answer>", tokenizer),
            {"none": lambda completions, **_: [0.0]},
            NoInformation(),
        )

"""Nothing read, nothing learned: it is counted the same way everywhere, and a warning says what to do."""

import pytest
import torch
from updates import POSTFIX, TOKENIZER, embedded_model, run

from iapo.advantages import GroupRelative, InformationAware
from iapo.cli import main
from iapo.estimators import AnswerLikelihood, NoInformation
from iapo.integrations.core import TokenAdvantages
from iapo.rollout import ScriptedSampler, TransformersSampler
from iapo.styles import Boxed, CompletionStyle
from iapo.training.components import Components, UpdateSettings
from iapo.training.distributed.ranks import Ranks
from iapo.training.loop import prepare

NO_INFORMATION = {"assigner": GroupRelative(), "estimator": NoInformation()}
TEXTS = [
    "<think>1+1=2</think><answer>2</answer>",
    "<think>1+1=2</think>",
    "<think>1+1=2",
    "<answer>2</answer>",
    "<think>1+1=3</think>",
    "<think>1+1=3</think><answer>3</answer>",
]
PAID = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
LACKING = 3
"""Of the paid ones: no answer, no end of the reasoning, no reasoning."""


class Twice(Ranks):
    """Two processes with the same rows."""

    def gather(self, values):
        return torch.cat([values, values])

    def own(self, values, rows):
        return values[:rows]


@pytest.mark.parametrize("least", [0.0, -1.0])
def test_the_loop_and_integrations_count_the_same_completions(least):
    model, estimator = embedded_model(), AnswerLikelihood(POSTFIX)
    sampler = ScriptedSampler({"1+1=": TEXTS}, TOKENIZER)
    paid, above = [least + reward for reward in PAID], least + 0.5
    parts = Components(sampler, {"paid": lambda completions, **_: paid}, estimator, InformationAware(), None, None)
    settings = UpdateSettings(len(TEXTS), 8, correct_above=above)
    with pytest.warns(UserWarning, match="nothing to probe"):
        loop = prepare([{"prompt": "1+1="}], model, TOKENIZER, parts, settings).metrics
    ends = (TOKENIZER.eos_token_id,)
    engine = TokenAdvantages(TOKENIZER, estimator, InformationAware(), eos_ids=ends, correct_above=above)
    rollout = sampler(["1+1="], len(TEXTS))
    rewards = torch.tensor(paid)
    with pytest.warns(UserWarning, match="nothing to probe"):
        alone = engine(model, rollout, rewards, torch.zeros(rollout.completion_mask.shape)).metrics
    with pytest.warns(UserWarning, match="nothing to probe"):
        both = engine(model, rollout, rewards, torch.zeros(rollout.completion_mask.shape), ranks=Twice()).metrics
    assert [each["iapo/completions/without_span"] for each in (loop, alone, both)] == [LACKING, LACKING, 2 * LACKING]
    assert [each["iapo/completions/without_answer"] for each in (loop, alone, both)] == [3, 3, 6]


@pytest.mark.parametrize(
    ("limit", "style", "told"),
    [
        (6, None, r"cut before they answer.*--sampler\.max_new_tokens"),
        (60, CompletionStyle(answer=Boxed()), r"--answer_style"),
    ],
)
def test_a_batch_without_any_answer_is_warned_of(limit, style, told):
    model = embedded_model()
    sampler = TransformersSampler(model, TOKENIZER, limit, style=style)
    nothing = {"nothing": lambda completions, **_: [0.0] * len(completions)}
    with pytest.warns(UserWarning, match=f"no final answer is found in any completion.*{told}"):
        metrics, _ = run(model=model, sampler=sampler, rewards=nothing, **NO_INFORMATION)
    assert metrics["iapo/completions/without_answer"] == 16
    assert metrics["iapo/groups/equal_rewards"] == 1


def test_rewards_that_differ_need_no_answers():
    model = embedded_model()
    sampler = TransformersSampler(model, TOKENIZER, 60, style=CompletionStyle(answer=Boxed()))
    length = {"length": lambda completion_ids, **_: [-float(len(ids)) for ids in completion_ids]}
    metrics, _ = run(model=model, sampler=sampler, rewards=length, **NO_INFORMATION)
    assert metrics["iapo/completions/without_answer"] == 16
    answered, _ = run(**NO_INFORMATION)
    assert answered["iapo/completions/without_answer"] < 16
    assert 0 <= answered["iapo/groups/equal_rewards"] < 1


@pytest.mark.filterwarnings("default:in each of 5 updates")
def test_a_run_says_once_that_rewards_stay_equal(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("def score(completions, **_):\n    return [0.25] * len(completions)\n")
    small = "--prompts_per_step 2 --group_size 2 --sampler.max_new_tokens 4 --eval_problems 2 --eval_samples 1"
    command = ["train", "--output", str(tmp_path / "run"), "--limit", "16", "--diagnose", "0", *small.split()]
    command += ["--rewards", f"{tmp_path}/mine.py:score"]
    assert main([*command, "--steps", "7"]) == 0
    told = capsys.readouterr().err
    assert told.count("in each of 5 updates all completions of every prompt got equal rewards (now 0.25)") == 1
    assert "--group_size" in told

"""What `iapo inspect` says of completions."""

import pytest

from iapo.commands.inspect import InspectionSettings, inspect_prompt
from iapo.estimators import NoInformation
from iapo.rollout import TransformersSampler
from iapo.training.settings import PolicySource, ProblemSource


@pytest.mark.parametrize("score", [None, 0.0, 0.5])
def test_a_completion_that_could_not_be_scored_has_no_reward(score):
    def every(completions, **_):
        return [score] * len(completions)

    shown = inspect_prompt(
        PolicySource(),
        ProblemSource(),
        InspectionSettings(samples=2),
        lambda model, tokenizer: TransformersSampler(model, tokenizer, 4),
        {"every": every},
        NoInformation(),
    )
    assert [trace.reward for trace in shown.traces] == [score, score]

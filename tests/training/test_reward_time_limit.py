"""The limit of reward functions holds wherever a run scores completions, not in updates alone."""

import time

import pytest
from updates import TOKENIZER, components_of, embedded_model

from iapo.embedded import generate_problems, rows
from iapo.styles import USUAL_STYLE
from iapo.training.components import UpdateSettings
from iapo.training.configuration.settings import RunSettings
from iapo.training.distributed.processes import SINGLE
from iapo.training.reporting.report_so_far import ReportSoFar
from iapo.training.session import Session
from iapo.training.setup.first_look import FirstLook


def slow(completions, **_):
    time.sleep(5)
    return [0.0] * len(completions)


def test_first_completions_and_evaluations_have_the_limit_of_updates(tmp_path):
    model, problems = embedded_model(), rows(generate_problems(1, seed=0))
    components = components_of(model, rewards={"slow": slow})
    settings = RunSettings(output=str(tmp_path), eval_samples=1, reward_time_limit=0.2)
    session = Session(settings, UpdateSettings(2, 2), model, TOKENIZER, None, components, None, None)
    with pytest.raises(TimeoutError, match=r"took longer than 0\.2 s"):
        session.evaluate(problems, 0, {})
    rollout = components.sampler([problems[0]["prompt"]], 1)
    look = FirstLook(problems, {"slow": slow}, False, TOKENIZER, (), ReportSoFar(tmp_path), SINGLE, 0.2, 0.5)
    with pytest.raises(TimeoutError, match=r"took longer than 0\.2 s"):
        look(rollout, USUAL_STYLE)

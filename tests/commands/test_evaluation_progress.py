"""What `iapo eval` tells while it evaluates: each of its phases, and the time that is left of it."""

import pytest

from iapo.cli import main
from iapo.training.reporting import progress


@pytest.mark.parametrize(("budgets", "answers"), [("[0,4]", 8), ("auto", 40), ("[]", 0)])
def test_samples_and_answers_at_budgets_are_told_one_after_the_other(budgets, answers, capsys, monkeypatch):
    monkeypatch.setattr("iapo.training.reporting.progress._ANNOUNCED_AFTER", 0.0)
    monkeypatch.setattr("iapo.training.reporting.progress._FIRST_PAUSE", 0.0)
    begun, real = [], progress.watched

    def watched(model, sampling):
        begun.append((sampling.completions, sampling.longest))
        return real(model, sampling)

    monkeypatch.setattr(progress, "watched", watched)
    line = f"eval --limit 24 --problems 2 --samples 3 --budget_samples 2 --answer_tokens 5 --budgets {budgets}"
    assert main([*line.split(), "--sampler.max_new_tokens", "24"]) == 0
    at_budgets = [(answers, 5)] if answers else []
    assert [each for each in begun if each[0]] == [(2 * 4, 24), *at_budgets]
    assert ("answers at budgets" in capsys.readouterr().err) <= bool(answers)

"""Diagnosis of an update: it changes nothing, and what it logs is what the update did."""

import dataclasses
import json
import math

import pytest
import torch
from updates import POSTFIX, TOKENIZER, embedded_model, run

from iapo import Rollout
from iapo.advantages import GroupRelative, InformationAware
from iapo.cli import main
from iapo.diagnostics import classify_completions, information_by_class, information_slope, length_change
from iapo.embedded import classify, generate_problems, rows
from iapo.estimators import AnswerLikelihood, NoInformation
from iapo.evaluation import evaluate
from iapo.policy.logprobs import completion_logprobs
from iapo.rewards import MathAnswer
from iapo.rollout import CompactingSampler, TransformersSampler
from iapo.training.diagnosis import describe_information
from iapo.training.resample import Resampling

CHANGE, GRADIENT = "iapo/diagnostics/length_change", "iapo/diagnostics/length_gradient"
CLASSES = "iapo/diagnostics/information/"
SLOPE = "iapo/diagnostics/information_slope"


@pytest.fixture(autouse=True)
def no_autocast_left_on():
    """Autocast that an update left on would go on to every later test."""
    yield
    left_on = torch.is_autocast_enabled("cpu")
    torch.set_autocast_enabled("cpu", False)
    assert not left_on


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
@pytest.mark.parametrize("epochs", [1, 2])
def test_diagnosis_changes_nothing_in_the_training(epochs, autocast):
    settings = {"updates": 2, "epochs": epochs, "micro_batch": 5, "assigner": InformationAware(beta=0.1)}
    settings |= {"autocast": autocast}
    (plain, expected), (metrics, found) = run(**settings), run(**settings, diagnose=True)
    assert torch.equal(found, expected)
    assert {name for name in plain if not name.startswith("iapo/time")} <= set(metrics)
    for name, value in plain.items():
        assert name.startswith("iapo/time") or metrics[name] == value
    wanted = {f"{CHANGE}/{name}" for name in ("first_order", "exact", "realized")}
    wanted |= {f"{GRADIENT}/{name}" for name in ("outcome", "information", "exploration")} | {SLOPE}
    assert wanted <= set(metrics)
    assert not wanted & set(plain)
    assert all(math.isfinite(value) for value in metrics.values())


def test_a_random_estimator_keeps_its_numbers():
    class Drawing(AnswerLikelihood):
        def probe(self, model, rollout):
            probes = super().probe(model, rollout)
            return probes + torch.rand_like(probes)

    settings = {"updates": 2, "estimator": Drawing(POSTFIX)}
    assert torch.equal(run(**settings)[1], run(**settings, diagnose=True)[1])


def test_the_slope_is_over_all_completions():
    kept, asked = [], []

    class Keeping(TransformersSampler):
        def sample(self, prompts, group_size):
            kept.append(super().sample(prompts, group_size))
            return kept[-1]

    class Counting(AnswerLikelihood):
        def probe(self, model, rollout):
            asked.append(len(rollout))
            return super().probe(model, rollout)

    model = embedded_model()
    settings = {"sampler": Keeping(model, TOKENIZER, max_new_tokens=60), "estimator": Counting(POSTFIX)}
    some, _ = run(micro_batch=3, assigner=InformationAware(), diagnose=True, **settings)
    assert max(asked) <= 3
    assert sum(asked) == 16
    whole, _ = run(assigner=InformationAware(applies_to="all"), diagnose=True, **settings)
    assert sum(asked) == 32
    assert 0 < some["rewards/accuracy/mean"] < 1
    rollout = kept[0]
    answered = rollout.answer_mask.any(1)
    assert 0 < answered.sum() < 16
    measured = rollout.reasoning_mask & answered[:, None]
    information = AnswerLikelihood(POSTFIX)(model, rollout)
    expected = information_slope(information, measured, rollout.completion_mask, rollout.group_ids)
    for metrics in (some, whole):
        assert metrics[SLOPE] == pytest.approx(expected.value, rel=1e-3)
        assert metrics[f"{SLOPE}_se"] == pytest.approx(expected.standard_error, rel=1e-3)
    assert SLOPE not in run(assigner=InformationAware(applies_to="all"))[0]


def test_information_is_logged_by_the_class_of_the_token():
    kept = []

    class Keeping(TransformersSampler):
        def sample(self, prompts, group_size):
            kept.append(super().sample(prompts, group_size))
            return kept[-1]

    model = embedded_model()
    settings = {"sampler": Keeping(model, TOKENIZER, max_new_tokens=60), "diagnose": True}
    metrics, weights = run(classify=classify, **settings)
    rollout = kept[0]
    prompts = [generate_problems(4, seed=5)[group].prompt for group in rollout.group_ids.tolist()]
    labels = classify_completions(rollout, prompts, TOKENIZER, classify)
    measured = rollout.reasoning_mask & rollout.answer_mask.any(1)[:, None]
    information = AnswerLikelihood(POSTFIX)(model, rollout)
    expected = information_by_class(information, measured, rollout.completion_mask, rollout.group_ids, labels)
    assert {"needed", "filler"} <= set(expected)
    assert {name for name in metrics if name.startswith(CLASSES) and not name.endswith("_se")} == {
        CLASSES + name for name in expected
    }
    for name, estimate in expected.items():
        assert metrics[CLASSES + name] == pytest.approx(estimate.value, abs=1e-4)
    without, same = run(**settings)
    assert not any(name.startswith(CLASSES) for name in without)
    assert torch.equal(weights, same)
    assert not any(name.startswith(CLASSES) for name in run(classify=classify)[0]), "not diagnosed"
    plain, _ = run(assigner=GroupRelative(), estimator=NoInformation(), classify=classify, diagnose=True)
    assert not any(name.startswith(CLASSES) for name in plain), "nothing was measured"


def test_classes_follow_the_completions_that_are_left():
    def scored(completions, answer, **_):
        found = MathAnswer()([""] * len(completions), completions, [[]] * len(completions), answer=answer)
        return [None if index < 4 or index % 4 == 3 else value for index, value in enumerate(found)]

    seen = []

    def own(prompt, completion):
        seen.append(prompt)
        return ["any"] * len(classify(prompt, completion))

    metrics, _ = run(rewards={"r": scored}, classify=own, diagnose=True)
    assert seen == [problem.prompt for problem in generate_problems(4, seed=5)[1:] for _ in range(3)]
    assert f"{CLASSES}any" in metrics


def test_without_an_answer_it_counts_if_it_was_measured():
    mask = torch.tensor([[True, True, True], [True, False, False], [True, True, False]])
    answered = torch.tensor([[False], [True], [False]])
    prompt, ids = torch.ones(3, 1), torch.zeros(3).long()
    rollout = Rollout(prompt.long(), prompt.bool(), mask.long(), mask, mask, ids, None, answered.long(), answered)
    silent = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.4, 0.4, 0.0]])
    assert describe_information(rollout, silent)[SLOPE] == pytest.approx(-0.1), "of the second and the third"
    for unanswered in ({"answer_ids": None, "answer_mask": None}, {"answer_mask": torch.ones_like(answered)}):
        found = describe_information(dataclasses.replace(rollout, **unanswered), silent)
        assert found[SLOPE] == pytest.approx(-0.25), "of all three"


def test_every_update_logs_entropy():
    every_other = {"r": lambda completions, **_: [float(index % 2) for index in range(len(completions))]}
    metrics, _ = run(rewards=every_other)
    assert {f"iapo/diagnostics/entropy/{name}" for name in ("correct", "wrong")} <= set(metrics)
    shares = [metrics[f"iapo/diagnostics/entropy/{name}"] for name in ("correct", "wrong")]
    assert min(shares) <= metrics["entropy"] <= max(shares)
    for reward, present, absent in ((1.0, "correct", "wrong"), (0.5, "wrong", "correct")):
        alike, _ = run(rewards={"r": lambda completions, value=reward, **_: [value] * len(completions)})
        assert alike[f"iapo/diagnostics/entropy/{present}"] == pytest.approx(alike["entropy"], rel=1e-5)
        assert f"iapo/diagnostics/entropy/{absent}" not in alike
    form = {"accuracy": lambda completions, **_: [0.0] * len(completions)}
    form |= {"form": lambda completions, **_: [float(index % 2) for index in range(len(completions))]}
    wrong, _ = run(rewards=form)
    assert "iapo/diagnostics/entropy/correct" not in wrong, "form makes no wrong answer right"
    plain, _ = run(assigner=GroupRelative(), estimator=NoInformation(), diagnose=True)
    assert SLOPE not in plain
    assert f"{CHANGE}/first_order" in plain
    assert not any(name.startswith(GRADIENT) for name in plain), "not split"


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_prediction_is_of_the_whole_update(epochs):
    model = embedded_model()
    kept = []

    class Keeping(TransformersSampler):
        def sample(self, prompts, group_size):
            rollout = super().sample(prompts, group_size)
            with torch.no_grad():
                kept.append((rollout, completion_logprobs(model, rollout)[0]))
            return rollout

    torch.manual_seed(0)
    sampler = Keeping(model, TOKENIZER, max_new_tokens=40)
    metrics, _ = run(model=model, sampler=sampler, micro_batch=3, epochs=epochs, diagnose=True)
    (rollout, before), (fresh, _) = kept
    with torch.no_grad():
        after = completion_logprobs(model, rollout)[0]
    expected = length_change(before, after, rollout.completion_mask, rollout.group_ids)
    assert abs(expected.first_order.value) > 1e-3
    assert metrics[f"{CHANGE}/first_order"] == pytest.approx(expected.first_order.value, abs=1e-4)
    assert metrics[f"{CHANGE}/exact"] == pytest.approx(expected.exact.value, abs=1e-4)
    realized = fresh.completion_lengths.double().mean() - rollout.completion_lengths.double().mean()
    assert metrics[f"{CHANGE}/realized"] == pytest.approx(float(realized), abs=1e-6)


def test_after_resampling_the_prompts_are_those_trained_on():
    spare = rows(generate_problems(4, seed=9))
    asked = []

    class Asked(CompactingSampler):
        def sample(self, prompts, group_size):
            asked.append(list(prompts))
            return super().sample(prompts, group_size)

    def by_prompt(prompts, completions, **_):
        fresh = {row["prompt"] for row in spare}
        return [float(prompt in fresh and index % 4 == 0) for index, prompt in enumerate(prompts)]

    model = embedded_model()
    run(
        sampler=Asked(model, TOKENIZER, max_new_tokens=40),
        rewards={"r": by_prompt},
        resampling=Resampling(1, lambda: list(spare)),
        diagnose=True,
    )
    assert asked[2] == asked[1] == [row["prompt"] for row in spare]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("every", "diagnosed"), [(2, [1, 3]), (0, [])])
def test_the_command_line_says_how_often(every, diagnosed, tmp_path):
    settings = "--steps 3 --prompts_per_step 2 --group_size 4 --limit 32 --eval_problems 2 --eval_samples 1"
    settings += f" --sampler.max_new_tokens 60 --device cpu --diagnose {every}"
    assert main(["train", "--output", str(tmp_path / "run"), *settings.split()]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    for name in (f"{CHANGE}/first_order", f"{CLASSES}needed"):
        assert [line["step"] for line in lines if name in line] == diagnosed


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_run_is_evaluated_in_the_precision_of_training(precision, tmp_path, monkeypatch):
    found = []

    def watched(*arguments, **settings):
        found.append(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32)
        return evaluate(*arguments, **settings)

    monkeypatch.setattr("iapo.training.session.evaluate", watched)
    settings = "--steps 1 --prompts_per_step 2 --group_size 4 --limit 64 --eval_problems 16 --eval_samples 2"
    settings += f" --optimizer.lr 0 --sampler.max_new_tokens 40 --device cpu --diagnose 1 --precision {precision}"
    assert main(["train", "--output", str(tmp_path / "run"), *settings.split()]) == 0
    assert found == [{"bf16": torch.bfloat16, "fp32": torch.float32}[precision]] * 2
    before, after = (json.loads((tmp_path / "run" / f"evaluation-{step}.json").read_text()) for step in (0, 1))
    assert before == after, "nothing was learned"

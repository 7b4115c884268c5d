"""One update: micro-batches change nothing, unscored completions move nothing, only what is needed runs."""

import copy
import dataclasses

import pytest
import torch
from updates import POSTFIX, TOKENIZER, components_of, embedded_model, run

from iapo.advantages import RLOO, GroupRelative, InformationAware, PermutedInformation, RandomInformation
from iapo.advantages.schedules import Warmup
from iapo.embedded import generate_problems, rows
from iapo.estimators import AnswerLikelihood, EarlyExitEntropy, NoInformation
from iapo.losses import ClippedPolicyLoss
from iapo.optimizers import ClippedOptimizer
from iapo.policy.logprobs import completion_logprobs
from iapo.rewards import MathAnswer
from iapo.rollout import ScriptedSampler, TransformersSampler
from iapo.training.components import UpdateSettings
from iapo.training.loop import optimise, prepare, update
from iapo.training.resample import Resampling


@pytest.mark.parametrize("aggregation", ["token", "sequence"])
def test_micro_batches_do_not_change_the_update(aggregation):
    loss = ClippedPolicyLoss(aggregation=aggregation)
    (whole, expected), (parts, found) = run(64, double=True, loss=loss), run(3, double=True, loss=loss)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
    for name in ("loss", "entropy", "grad_norm", "iapo/information_per_token"):
        assert parts[name] == pytest.approx(whole[name], abs=1e-6)


@pytest.mark.parametrize("control", [PermutedInformation, RandomInformation])
def test_controls_are_drawn_for_the_whole_rollout(control):
    (_, expected), (_, found) = (run(size, double=True, assigner=control(InformationAware())) for size in (64, 3))
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
    _, plain = run(64, double=True)
    assert not torch.equal(expected, plain)


def test_without_weights_information_is_not_measured():
    class Forbidden(EarlyExitEntropy):
        def probe(self, model, rollout):
            raise AssertionError("nobody asked")

    _, grpo = run(assigner=GroupRelative(), estimator=NoInformation())
    _, shaped = run(assigner=InformationAware(alpha=0.0), estimator=Forbidden(POSTFIX))
    assert torch.equal(grpo, shaped)


def test_the_first_reward_alone_says_which_completions_are_correct():
    """A reward that all completions get makes none correct; it is away when rewards are centered."""
    told: list[torch.Tensor] = []

    class Telling(GroupRelative):
        def assign(self, inputs):
            told.append(inputs.correct)
            return super().assign(inputs)

    def accuracy(**arguments):
        return [10 * score for score in MathAnswer()(**arguments)]

    def form(completions, **_):
        return [2.0] * len(completions)

    assigner = InformationAware(Telling())
    (first, expected), (both, found) = (
        run(double=True, assigner=assigner, rewards=rewards, correct_above=5.0)
        for rewards in ({"accuracy": accuracy}, {"accuracy": accuracy, "form": form})
    )
    assert 0 < told[0].sum() < len(told[0])
    assert torch.equal(told[0], told[1])
    assert both["reward"] == pytest.approx(first["reward"] + 2.0)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("micro_batch", [64, 3])
def test_only_what_the_assigner_asks_for_is_probed(micro_batch):
    class AsksForAll(InformationAware):
        def wants_information(self, inputs):
            return torch.ones_like(inputs.rewards, dtype=torch.bool)

    class Counting(AnswerLikelihood):
        def probe(self, model, rollout):
            asked.append(len(rollout))
            return super().probe(model, rollout)

    asked: list[int] = []
    metrics, found = run(micro_batch, double=True, assigner=InformationAware(), estimator=Counting(POSTFIX))
    correct = round(16 * metrics["rewards/accuracy/mean"])
    assert 0 < correct < 16
    assert sum(asked) == correct
    assert max(asked) <= micro_batch
    asked.clear()
    _, expected = run(micro_batch, double=True, assigner=AsksForAll(), estimator=Counting(POSTFIX))
    assert sum(asked) == 16
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_what_is_asked_for_must_be_one_flag_a_completion():
    class PerToken(InformationAware):
        def wants_information(self, inputs):
            return inputs.completion_mask

    with pytest.raises(ValueError, match=r"PerToken.wants_information: want bool of shape \(batch,\) = \(16,\), got"):
        run(assigner=PerToken())


def test_without_a_right_completion_nothing_is_probed():
    class Forbidden(EarlyExitEntropy):
        def probe(self, model, rollout):
            raise AssertionError("nobody asked")

    metrics, _ = run(rewards={"none": lambda completions, **_: [0.0] * len(completions)}, estimator=Forbidden(POSTFIX))
    assert metrics["grad_norm"] == 0
    assert "iapo/information_per_token" not in metrics


def test_a_completion_without_a_score_moves_no_baseline():
    def scored(completions, answer, **_):
        found = MathAnswer()([""] * len(completions), completions, [[]] * len(completions), answer=answer)
        return [None if index % 4 == 3 else value for index, value in enumerate(found)]

    def spoiled(completions, answer, **_):
        return [0.0 if value is None else value for value in scored(completions, answer)]

    metrics, left_out = run(rewards={"accuracy": scored})
    _, counted = run(rewards={"accuracy": spoiled})
    assert metrics["loss"] == metrics["loss"]
    assert not torch.equal(left_out, counted)


def test_without_scores_nothing_moves():
    before = run(rewards={"accuracy": lambda completions, **_: [1.0] * len(completions)}, assigner=GroupRelative())[1]
    metrics, after = run(rewards={"accuracy": lambda completions, **_: [None] * len(completions)})
    assert torch.equal(before, after)
    assert "loss" not in metrics


@pytest.mark.parametrize("assigner", [GroupRelative(), RLOO(), InformationAware()])
def test_the_only_one_with_a_score_leaves_too(assigner):
    def scoring(*scored):
        """Every other completion is right; of the first group only these have a score."""
        return lambda completions, **_: [
            float(index % 2) if index >= 4 or index in scored else None for index in range(len(completions))
        ]

    metrics, found = run(rewards={"r": scoring(1)}, assigner=assigner)
    without, expected = run(rewards={"r": scoring()}, assigner=assigner)
    assert torch.equal(found, expected)
    assert (metrics["iapo/completions/unscored"], metrics["iapo/completions/without_baseline"]) == (3, 1)
    assert (without["iapo/completions/unscored"], without["iapo/completions/without_baseline"]) == (4, 0)
    assert metrics["grad_norm"] > 0
    pair, moved = run(rewards={"r": scoring(1, 2)}, assigner=assigner)
    assert (pair["iapo/completions/unscored"], pair["iapo/completions/without_baseline"]) == (2, 0)
    assert not torch.equal(moved, expected), "two have a baseline"


def test_when_all_are_without_baseline_nothing_moves():
    before = run(rewards={"one": lambda completions, **_: [1.0] * len(completions)}, assigner=GroupRelative())[1]
    first = {"r": lambda completions, **_: [1.0 if index % 4 == 0 else None for index in range(len(completions))]}
    metrics, after = run(rewards=first, assigner=GroupRelative(), diagnose=True)
    assert torch.equal(before, after)
    assert "loss" not in metrics
    assert (metrics["iapo/completions/unscored"], metrics["iapo/completions/without_baseline"]) == (12, 4)
    assert metrics["reward"] == 1


def test_groups_of_one_are_for_the_assigner_to_refuse():
    with pytest.raises(ValueError, match="allow_singletons=True"):
        run(group_size=1, assigner=GroupRelative())
    metrics, _ = run(group_size=1, assigner=GroupRelative(allow_singletons=True))
    assert metrics["iapo/completions/without_baseline"] == 0
    assert "loss" in metrics


def test_equal_rewards_are_skipped_and_counted():
    metrics, _ = run(
        rewards={"one": lambda completions, **_: [1.0] * len(completions)}, assigner=GroupRelative(), updates=2
    )
    assert metrics["iapo/steps_skipped"] == 2
    assert metrics["frac_reward_zero_std"] == 1


@pytest.mark.filterwarnings("ignore:no final answer is found")
@pytest.mark.parametrize("diagnose", [False, True])
def test_completions_without_a_token_have_metrics_that_are_numbers(diagnose):
    """The mean entropy of their tokens was NaN."""
    sampler = ScriptedSampler({row["prompt"]: [[]] * 4 for row in rows(generate_problems(4, seed=5))}, TOKENIZER)
    metrics, after = run(sampler=sampler, diagnose=diagnose)
    assert all(value == value for value in metrics.values())
    assert metrics["entropy"] == 0
    assert torch.equal(after, torch.cat([weights.detach().flatten() for weights in embedded_model().parameters()]))


def test_groups_of_equal_rewards_give_way_to_fresh_prompts():
    asked = []

    def by_prompt(prompts, completions, **_):
        asked.append(list(prompts))
        return [float(prompt in fresh and index % 4 == 0) for index, prompt in enumerate(prompts)]

    spare = rows(generate_problems(4, seed=9))
    fresh = {row["prompt"] for row in spare}
    metrics, after = run(
        rewards={"r": by_prompt}, assigner=GroupRelative(), resampling=Resampling(5, lambda: list(spare))
    )
    assert [sorted(set(prompts)) for prompts in asked] == [
        sorted(row["prompt"] for row in rows(generate_problems(4, seed=5))),
        sorted(fresh),
    ]
    assert (metrics["iapo/resample/rounds"], metrics["iapo/resample/groups"]) == (1, 4)
    assert metrics["frac_reward_zero_std"] == 0
    assert metrics["reward"] == 0, "of the update's own prompts"
    assert metrics["num_tokens"] > 16 * metrics["completions/mean_length"], "thrown-away ones count"
    assert metrics["grad_norm"] > 0
    left, before = run(rewards={"r": by_prompt}, assigner=GroupRelative())
    assert left["frac_reward_zero_std"] == 1
    assert not torch.equal(before, after)


def test_reference_answers_follow_resampled_prompts():
    spare = rows(generate_problems(4, seed=9))
    fresh = {row["prompt"]: row["answer"] for row in spare}
    seen = []

    class Watching(AnswerLikelihood):
        def probe(self, model, rollout):
            seen.extend(
                (TOKENIZER.decode(prompt[mask]), TOKENIZER.decode(answer[kept]))
                for prompt, mask, answer, kept in zip(
                    rollout.prompt_ids, rollout.prompt_mask, rollout.answer_ids, rollout.answer_mask, strict=True
                )
            )
            return super().probe(model, rollout)

    def by_prompt(prompts, completions, **_):
        return [float(prompt in fresh and index % 4 == 0) for index, prompt in enumerate(prompts)]

    run(
        rewards={"r": by_prompt},
        estimator=Watching(POSTFIX),
        answer="reference",
        resampling=Resampling(1, lambda: list(spare)),
    )
    assert {(prompt.replace(" ", ""), answer) for prompt, answer in seen} == {
        (prompt.replace(" ", ""), answer) for prompt, answer in fresh.items()
    }


def test_several_epochs_leave_the_ratio_of_one():
    metrics, _ = run(
        epochs=3,
        loss=ClippedPolicyLoss(clip_low=0.0, clip_high=0.0),
        assigner=GroupRelative(),
        estimator=NoInformation(),
    )
    assert metrics["clip_ratio/region_mean"] > 0
    assert run(epochs=1)[0]["clip_ratio/region_mean"] == 0


def test_the_reference_policy_is_penalized():
    loss = ClippedPolicyLoss(kl_coef=0.5)
    first, _ = run(loss=loss, reference=True)
    assert first["kl"] == pytest.approx(0, abs=1e-6)
    assert run(loss=loss, reference=True, updates=3)[0]["kl"] > 1e-6


def test_exploration_runs_in_reduced_precision():
    metrics, weights = run(assigner=InformationAware(beta=0.1), autocast=torch.bfloat16)
    assert weights.isfinite().all()
    assert metrics["grad_norm"] > 0


def test_the_reference_answer_can_be_asked_about():
    asked = InformationAware(applies_to="all")
    own, _ = run(answer="own", assigner=asked)
    reference, _ = run(answer="reference", assigner=asked)
    assert own["iapo/information_per_token"] != reference["iapo/information_per_token"]
    assert own["completions/mean_length"] == reference["completions/mean_length"]


def test_the_reference_may_be_asked_about_later():
    weights = Warmup(0.5, 0.5)
    assert not InformationAware(alpha=weights).at(0.0).requires_estimate
    metrics, _ = run(answer="reference", assigner=InformationAware(alpha=weights).at(0.0))
    assert "iapo/information_per_token" not in metrics


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_an_update_runs_on_cuda_in_bf16():
    model = embedded_model().cuda()
    optimizer = ClippedOptimizer(torch.optim.AdamW(model.parameters(), lr=1e-4))
    components = components_of(model, assigner=InformationAware(beta=0.1), optimizer=optimizer)
    settings = UpdateSettings(group_size=4, micro_batch=8, autocast=torch.bfloat16)
    metrics = update(rows(generate_problems(4, seed=5)), model, TOKENIZER, components, settings)
    assert metrics["iapo/steps_skipped"] == 0


def test_an_update_is_its_two_halves():
    settings = UpdateSettings(group_size=4, micro_batch=8)
    problems = rows(generate_problems(4, seed=5))
    results = []
    for halves in (False, True):
        model = embedded_model()
        components = components_of(model)
        torch.manual_seed(0)
        if halves:
            batch = prepare(problems, model, TOKENIZER, components, settings)
            metrics = batch.metrics | optimise(batch, model, components, settings).metrics
        else:
            metrics = update(problems, model, TOKENIZER, components, settings)
        weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        results.append(({name: value for name, value in metrics.items() if "/time/" not in name}, weights))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


def test_each_half_does_its_own_work_only():
    class Once(TransformersSampler):
        def sample(self, prompts, group_size):
            assert not sampled, "the update sampled"
            sampled.append(group_size)
            return super().sample(prompts, group_size)

    sampled: list[int] = []
    model, settings = embedded_model(), UpdateSettings(group_size=4, micro_batch=8)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    components = components_of(model, sampler=Once(model, TOKENIZER, max_new_tokens=40))
    batch = prepare(rows(generate_problems(4, seed=5)), model, TOKENIZER, components, settings)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert batch.assigned.advantages.shape == batch.rollout.completion_ids.shape
    done = optimise(batch, model, components, settings)
    assert not all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    expected, entropy = completion_logprobs(embedded_model(), batch.rollout, with_entropy=True)
    torch.testing.assert_close(done.policy_logprobs, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(done.policy_entropy, entropy, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["group_size", "micro_batch", "epochs"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}: got 0"):
        UpdateSettings(**{"group_size": 2, "micro_batch": 2, name: 0})


@pytest.mark.filterwarnings("ignore:no final answer is found in any completion")
def test_a_completion_that_any_end_token_ends_is_not_clipped():
    model = embedded_model()
    ends = [TOKENIZER.eos_token_id, *TOKENIZER.encode("=", add_special_tokens=False)]
    model.generation_config.eos_token_id = ends
    sampler = TransformersSampler(model, TOKENIZER, max_new_tokens=12)
    metrics, _ = run(sampler=sampler, model=model, assigner=GroupRelative(), estimator=NoInformation())
    assert metrics["completions/clipped_ratio"] < 0.5
    model.generation_config.eos_token_id = None
    clipped, _ = run(sampler=sampler, model=model, assigner=GroupRelative(), estimator=NoInformation())
    assert clipped["completions/clipped_ratio"] > 0.9


def test_completions_that_no_token_ends_are_cut_or_end_at_a_stop_text():
    model, tokenizer = embedded_model(), copy.deepcopy(TOKENIZER)
    model.generation_config.eos_token_id = tokenizer.eos_token = None
    plain = {"model": model, "assigner": GroupRelative(), "estimator": NoInformation()}
    cut = "no final answer is found in any completion.*most are cut.*max_completion_length"
    with pytest.warns(UserWarning, match=cut):
        metrics, _ = run(sampler=TransformersSampler(model, tokenizer, max_new_tokens=12), **plain)
    assert metrics["completions/clipped_ratio"] == 1
    stopped = TransformersSampler(model, tokenizer, max_new_tokens=60, stop=("</answer>",))
    assert run(sampler=stopped, **plain)[0]["completions/clipped_ratio"] < 0.5


@pytest.mark.parametrize(
    ("problems", "message"),
    [
        ([], "rows: got none"),
        ({"prompt": ["1+1="]}, "rows: got a dict, want a list of mappings"),
        ((row for row in ()), "rows: got a generator"),
        (["1+1="], r"rows\[0\]: got a str, want a mapping with a 'prompt'"),
        ([{"prompt": "1+1=", "answer": "2"}, {"question": "1+1="}], r"rows\[1\]: has no 'prompt', .* \['question'\]"),
    ],
)
def test_rows_that_are_no_problems_are_named(problems, message):
    model = embedded_model()
    with pytest.raises(ValueError, match=message):
        update(problems, model, TOKENIZER, components_of(model), UpdateSettings(2, 2))


def test_a_temperature_may_be_a_whole_number():
    model = embedded_model()
    sampler = TransformersSampler(model, TOKENIZER, max_new_tokens=40, temperature=1)
    assert "loss" in run(model=model, sampler=sampler)[0]


def test_no_component_has_a_metric_that_is_called_as_one_of_the_loop():
    class Plain(GroupRelative):
        def assign(self, inputs):
            return dataclasses.replace(super().assign(inputs), metrics=self.own)

    class Bare(ClippedPolicyLoss):
        def compute(self, inputs):
            return dataclasses.replace(super().compute(inputs), metrics=dict.fromkeys(self.own, inputs.denominator))

    def called(assigners=(), losses=()):
        own = type("Mine", (Plain,), {"own": dict.fromkeys(assigners, 1.0)})()
        return run(assigner=own, loss=type("Loss", (Bare,), {"own": losses})(), estimator=NoInformation())[0]

    of_the_loop = called()
    assert {"reward", "loss", "num_tokens", "iapo/time/update"} <= set(of_the_loop)
    for name in (*of_the_loop, "step", "step_time", "iapo/tokens_sampled", "iapo/diagnostics/skipped"):
        with pytest.raises(ValueError, match=rf"Mine\.assign: metrics: {name} is what the loop calls"):
            called(assigners=[name])
        with pytest.raises(ValueError, match=rf"Loss\.compute: metrics: {name} is what the loop calls"):
            called(losses=[name])
    assert called(["mine/loss"], ["my_reward"]).keys() - of_the_loop.keys() == {"mine/loss", "my_reward"}

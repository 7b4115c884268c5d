"""Runs of a few steps: where nothing may change, and what GRPOTrainer's options do to information."""

import pytest
import torch
from trainers import GROUP, PROBLEMS, IAPOTrainer, correct, short, trainer_of, trl, weights_of

pytestmark = pytest.mark.filterwarnings("ignore")


def trained(folder, resume=None, **settings):
    trainer = trainer_of(folder, **settings)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def some_unscored(completions, answer, **_):
    """As `correct`, and no verdict on every third completion."""
    verdicts = correct(completions, answer)
    return [None if index % 3 == 1 else verdict for index, verdict in enumerate(verdicts)]


@pytest.mark.parametrize(
    "settings",
    [
        {"max_steps": 5},
        {"num_iterations": 2, "max_steps": 4, "loss_type": "grpo"},
        {"rewards": [some_unscored, short], "reward_weights": [1.0, 0.5], "loss_type": "dr_grpo"},
        {"mask_truncated_completions": True, "loss_type": "bnpo", "max_completion_length": 16},
        {"loss_type": "sapo", "scale_rewards": "batch"},
        {"loss_type": "cispo", "scale_rewards": "none", "bf16": True},
        {"loss_type": "luspo", "multi_objective_aggregation": "normalize_then_sum", "rewards": [correct, short]},
    ],
    ids=str,
)
def test_without_weight_it_is_grpo_bitwise(tmp_path, settings):
    plain = trained(tmp_path / "grpo", kind=trl.GRPOTrainer, **settings)
    ours = trained(tmp_path / "iapo", alpha=0.0, **settings)
    assert torch.equal(weights_of(ours), weights_of(plain))
    there, here = ({name for log in each.state.log_history for name in log} for each in (plain, ours))
    assert all(name.startswith("iapo/") for name in here - there) and there <= here


@pytest.mark.parametrize(
    "settings",
    [
        {"gradient_checkpointing": True},
        {"gradient_accumulation_steps": 2, "per_device_train_batch_size": GROUP, "steps_per_generation": 4},
        {"mask_truncated_completions": True, "max_completion_length": 20},
        {"rewards": [short, some_unscored], "correct_reward": "some_unscored"},
        {"top_entropy_quantile": 0.5, "loss_type": "cispo"},
        {"bf16": True},
        {"probe_at": "sentences"},
        {"num_iterations": 2, "exploration_weight": 0.1, "max_steps": 3},
    ],
    ids=str,
)
def test_information_moves_the_weights(tmp_path, settings):
    """With a weight the training is another one, finite and told of."""
    plain = trained(tmp_path / "grpo", kind=trl.GRPOTrainer, **{
        name: value for name, value in settings.items()
        if name not in ("correct_reward", "probe_at", "exploration_weight")
    })  # fmt: skip
    ours = trained(tmp_path / "iapo", **settings)
    weights = weights_of(ours)
    assert weights.isfinite().all()
    assert not torch.equal(weights, weights_of(plain))
    log = ours.state.log_history[0]
    assert log["iapo/completions/probed"] > 0
    assert log["iapo/information_per_completion"] > 0


def test_no_verdict_is_left_out_and_keeps_what_trl_gave(tmp_path):
    from trainers import sampled

    trainer = trainer_of(tmp_path, rewards=[short, some_unscored], correct_reward="some_unscored")
    output = sampled(trainer)
    outcome = torch.tensor(list(trainer._logs["advantages"]))[:, None] * output["completion_mask"]
    without = trainer._rewards_per_func[:, 1].isnan()
    assert without.any()
    torch.testing.assert_close(output["advantages"][without], outcome[without], atol=1e-6, rtol=0)
    assert not torch.equal(output["advantages"], outcome)
    assert trainer._metrics["train"]["iapo/completions/unscored"] == [float(without.sum())]


def test_resumed_is_as_never_stopped(tmp_path):
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "num_iterations": 1}
    whole = trained(tmp_path / "whole", **settings)
    again = trained(tmp_path / "again", resume=str(tmp_path / "whole" / "checkpoint-2"), **settings)
    assert again.state.global_step == 4
    assert torch.equal(weights_of(again), weights_of(whole))


@pytest.mark.parametrize("information", [False, True])
def test_evaluation(tmp_path, information):
    trainer = trainer_of(
        tmp_path,
        eval_data=PROBLEMS[:4],
        per_device_eval_batch_size=GROUP,
        num_generations_eval=2,
        information_in_eval=information,
        log_completions=True,
    )
    metrics = trainer.evaluate()
    assert ("eval_iapo/information_per_token" in metrics) == information
    assert metrics["eval_loss"] == metrics["eval_loss"]
    trainer.train()
    assert "iapo/information_per_token" in trainer.state.log_history[1]


def test_the_reference_model_stays(tmp_path):
    from iapo.embedded import model_path

    trainer = trainer_of(tmp_path, model=str(model_path()), beta=0.1, model_init_kwargs={"dtype": "float32"})
    before = [parameter.clone() for parameter in trainer.ref_model.parameters()]
    trainer.train()
    assert trainer.state.log_history[-2]["kl"] > 0
    assert all(torch.equal(old, new) for old, new in zip(before, trainer.ref_model.parameters(), strict=True))


def test_a_schedule_sees_the_progress(tmp_path):
    from iapo.advantages import GivenOutcome, InformationAware
    from iapo.advantages.schedules import Linear

    seen = []

    class Watched(IAPOTrainer):
        def _hand_over(self, credited, output, mode):
            seen.append(float((credited.advantages - output["advantages"][:, None]).abs().max()))
            super()._hand_over(credited, output, mode)

    constant = InformationAware(GivenOutcome(), alpha=Linear(0.0, 1.0))
    trained(tmp_path, kind=Watched, max_steps=2, parts={"assigner": constant})
    assert len(seen) == 2
    assert seen[0] < 1e-6 < seen[1] or seen[1] > seen[0]

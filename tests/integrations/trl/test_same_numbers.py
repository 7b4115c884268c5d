"""On the completions that TRL sampled, information and advantages are the reference loop's."""

import pytest
import torch
from trainers import GROUP, PROBLEMS, TOKENIZER, correct, sampled, short, trainer_of

from iapo import Sampler
from iapo.advantages import GFPO, GroupRelative, InformationAware, LeaveOutPriced
from iapo.estimators import AnswerLikelihood, LeaveOut, TextBoundaries
from iapo.losses import ClippedPolicyLoss
from iapo.optimizers import ClippedOptimizer
from iapo.rollout import collate
from iapo.tasks import EmbeddedTask
from iapo.training import Components, UpdateSettings, prepare

pytestmark = pytest.mark.filterwarnings("ignore")


class Recorded(Sampler):
    """Completions that somebody else sampled."""

    def __init__(self, output, temperature):
        self.output, self.temperature = output, temperature

    def sample(self, prompts, group_size):
        rows = {
            part: [
                ids[mask.bool()].tolist()
                for ids, mask in zip(self.output[f"{part}_ids"], self.output[f"{part}_mask"], strict=True)
            ]
            for part in ("prompt", "completion")
        }
        groups = [index // group_size for index in range(len(rows["prompt"]))]
        return collate(rows["prompt"], rows["completion"], groups, 0, TOKENIZER)


def by_the_loop(trainer, output, assigner, rewards, answer="own", estimator=None):
    """What the reference loop makes of the same completions."""
    temperature = trainer.args.temperature
    components = Components(
        Recorded(output, temperature),
        rewards,
        estimator or AnswerLikelihood.from_text(TOKENIZER, temperature=temperature),
        assigner,
        ClippedPolicyLoss(),
        ClippedOptimizer(torch.optim.SGD(trainer.model.parameters(), lr=0.1)),
    )
    settings = UpdateSettings(group_size=GROUP, micro_batch=trainer.args.per_device_train_batch_size, answer=answer)
    return prepare(PROBLEMS[:2], trainer.model, TOKENIZER, components, settings)


@pytest.fixture
def credited(monkeypatch):
    """The last result of `InformationMixin._credit`."""
    from iapo.integrations.trl import InformationMixin

    kept = []
    credit = InformationMixin._credit

    def keep(self, *args):
        kept.append(credit(self, *args))
        return kept[-1]

    monkeypatch.setattr(InformationMixin, "_credit", keep)
    return kept


@pytest.mark.parametrize(
    ("settings", "assigner"),
    [
        ({}, InformationAware()),
        ({"temperature": 0.7, "exploration_weight": 0.1}, InformationAware(beta=0.1)),
        ({"answer": "reference", "applies_to": "all"}, InformationAware(applies_to="all")),
        ({"scale_rewards": "none", "information_center": "completion", "credit": "own", "information_scale": "none"},
         InformationAware(GroupRelative(scale="none"), credit="own", center="completion", scale="none")),
    ],
    ids=str,
)  # fmt: skip
def test_information_and_advantages(tmp_path, credited, settings, assigner):
    trainer = trainer_of(tmp_path, **settings)
    output = sampled(trainer)
    batch = by_the_loop(trainer, output, assigner, {"correct": correct}, settings.get("answer", "own"))
    width = batch.rollout.completion_ids.shape[1]
    information = credited[-1].information
    assert information.any()
    assert batch.probed.any()
    torch.testing.assert_close(information[:, :width], batch.signals.information, atol=2e-5, rtol=0)
    torch.testing.assert_close(output["advantages"][:, :width], batch.assigned.advantages, atol=1e-6, rtol=0)
    assert not output["advantages"][:, width:].any()
    assert trainer._metrics["train"]["iapo/information_per_token"] == [
        pytest.approx(batch.metrics["iapo/information_per_token"], abs=1e-5)
    ]


def test_what_could_have_been_left_out(tmp_path, credited):
    estimator = LeaveOut(TextBoundaries(TOKENIZER, EmbeddedTask.style.steps), temperature=0.8)
    trainer = trainer_of(tmp_path, signal="leave_out", temperature=0.8, parts={"estimator": estimator})
    output = sampled(trainer)
    batch = by_the_loop(trainer, output, LeaveOutPriced(), {"correct": correct}, estimator=estimator)
    width = batch.rollout.completion_ids.shape[1]
    information = credited[-1].information
    assert (information > 1).any()
    torch.testing.assert_close(information[:, :width], batch.signals.information, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(output["advantages"][:, :width], batch.assigned.advantages, atol=1e-5, rtol=0)


def test_which_are_right_says_one_reward_and_not_the_sum(tmp_path, credited):
    both = trainer_of(tmp_path, rewards=[short, correct], correct_reward="correct")
    sampled(both)
    alone = trainer_of(tmp_path)
    sampled(alone)
    assert torch.equal(credited[0].information, credited[1].information), "and the other reward changes nothing in it"


def test_a_smaller_loss_mask_reaches_the_loss(tmp_path):
    assigner = InformationAware(GFPO(keep=2))
    trainer = trainer_of(tmp_path, parts={"assigner": assigner})
    output = sampled(trainer)
    batch = by_the_loop(trainer, output, assigner, {"correct": correct})
    width = batch.rollout.completion_ids.shape[1]
    counted = (output["completion_mask"] * output["tool_mask"]).bool()
    assert torch.equal(counted[:, :width], batch.assigned.loss_mask)
    assert counted.any(1).sum() == 4
    assert output["num_items_in_batch"] == batch.assigned.loss_mask.sum()
    torch.testing.assert_close(output["advantages"][:, :width], batch.assigned.advantages, atol=1e-6, rtol=0)
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer._compute_loss(trainer.model, output)
    expected = -batch.assigned.advantages.sum() / batch.assigned.loss_mask.sum()
    torch.testing.assert_close(loss.detach(), expected, atol=1e-5, rtol=0)

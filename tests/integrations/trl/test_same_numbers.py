"""On the completions that TRL sampled, information and advantages are the reference loop's."""

import pytest
import torch
from trainers import GROUP, PROBLEMS, TOKENIZER, IAPOTrainer, correct, sampled, short, trainer_of

from iapo import Sampler
from iapo.advantages import GFPO, GroupRelative, InformationAware, LeaveOutPriced
from iapo.estimators import AnswerLikelihood, LeaveOut, TextBoundaries
from iapo.losses import ClippedPolicyLoss
from iapo.optimizers import ClippedOptimizer
from iapo.rewards import ExactAnswer
from iapo.rollout import collate
from iapo.styles import Boxed, CompletionStyle
from iapo.tasks import EmbeddedTask
from iapo.training import Components, UpdateSettings, prepare

pytestmark = pytest.mark.filterwarnings("ignore")


SMALL_CACHE = {"num_blocks": 64, "block_size": 32, "max_batch_tokens": 256}
"""Of continuous batching, whose own takes all memory."""


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
        ({"per_group": 1, "applies_to": "all"}, InformationAware(per_group=1, applies_to="all")),
        ({"use_transformers_continuous_batching": True, "transformers_continuous_batching_config": SMALL_CACHE},
         InformationAware()),
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


@pytest.mark.parametrize("given", [True, False])
def test_what_could_have_been_left_out(tmp_path, credited, given):
    """By an estimator that is given, and by the options that say where steps end."""
    steps = EmbeddedTask.style.steps
    estimator = LeaveOut(TextBoundaries(TOKENIZER, steps), temperature=0.8)
    said = {"step_lines": False, "step_sentences": False, "step_patterns": list(steps.patterns)}
    settings = {"parts": {"estimator": estimator}} if given else said
    trainer = trainer_of(tmp_path, signal="leave_out", temperature=0.8, **settings)
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


@pytest.mark.parametrize("lenient", [True, False])
def test_an_answer_of_a_completion_that_was_cut(tmp_path, lenient):
    """It counts as under TRL unless `iapo train`'s rule is asked for."""
    end = TOKENIZER.eos_token_id
    right = [TOKENIZER.encode(f"</think><answer>{row['answer']}</answer>") for row in PROBLEMS[:2]]
    right = [ids[: ids.index(end)] if end in ids else ids for ids in right]

    class Given(IAPOTrainer):
        def _generate_single_turn(self, prompt_ids, *args, **kwargs):
            return [ids + [end] * (index % 2) for ids in right for index in range(GROUP)], None

    trainer = trainer_of(tmp_path, Given, ExactAnswer(), lenient=lenient)
    sampled(trainer)
    expected = [float(lenient or index % 2 == 1) for index in range(2 * GROUP)]
    assert trainer._rewards_per_func[:, 0].tolist() == expected


def test_rewards_read_in_the_style_that_is_said(tmp_path):
    boxed = ExactAnswer(style=CompletionStyle(answer=Boxed()))
    trainer = trainer_of(tmp_path, rewards=[ExactAnswer(), boxed, correct], answer_style="last_line")
    text = "I think it is\n4"
    first, second, third = (
        reward(prompts=[""], completions=[text], completion_ids=[[]], answer=["4"]) for reward in trainer.reward_funcs
    )
    assert (first, second, third) == ([1.0], [0.0], [0.0]), "one that has a style of its own keeps it"
    assert trainer_of(tmp_path, rewards=ExactAnswer()).reward_funcs == [ExactAnswer()]

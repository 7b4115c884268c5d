"""Losses, advantages and the overlong reward against TRL's: its trainer's own methods, on our batches.

The maths of losses and advantages is in two methods of `trl.GRPOTrainer`. They are run on a trainer whose forward pass,
sampling and rewards return what a test gave them.
"""

import warnings

import pytest
import torch
from peer_batches import DTYPES, SEEDS, batch, peer, value_and_gradient

from iapo import TokenSignals
from iapo.advantages import GDPO, BatchWhitened, GroupRelative, SoftOverlong
from iapo.losses import CISPO, GSPO, ClippedPolicyLoss
from iapo.testing import tiny_llama, tiny_tokenizer

trl = peer("trl")
rewards = peer("trl.rewards")
datasets = peer("datasets")

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.parametrize("seed", SEEDS),
    pytest.mark.parametrize("dtype", DTYPES, ids=str),
]

LENGTH = 40
"""Largest length of a completion, which ``dr_grpo`` divides by."""

GROUP = 4
with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    class Given(trl.GRPOTrainer):
        """A trainer that is given what its model, its sampler and its reward functions would return."""

        def __init__(self, folder, beta=0.0, reward_weights=(1.0,), **settings):
            settings = {"epsilon_high": 0.28, "num_generations": GROUP, "max_completion_length": LENGTH, **settings}
            super().__init__(
                tiny_llama(),
                [lambda completions, **_: [0.0] * len(completions) for _ in reward_weights],
                trl.GRPOConfig(
                    folder,
                    per_device_train_batch_size=GROUP,
                    reward_weights=list(reward_weights),
                    use_cpu=True,
                    bf16=False,
                    report_to="none",
                    **settings,
                ),
                datasets.Dataset.from_dict({"prompt": ["7 8"] * GROUP}),
                processing_class=tiny_tokenizer(),
            )
            self.beta = beta  # set here, for `GRPOConfig(beta=...)` wants a reference policy from a file
            self.current_gradient_accumulation_steps = 1

        def _get_per_token_logps_and_entropies(self, *args, **kwargs):
            return self.policy_logprobs, torch.zeros_like(self.policy_logprobs), None

        def _generate(self, prompts):
            ids = [[7] * length for length in self.lengths]
            return [[7]] * len(prompts), ids, None, ["7"] * len(prompts), None, {}, None, None

        def _calculate_rewards(self, inputs, prompts, completions, completion_ids):
            return self.rewards


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """A trainer of some settings, made once."""
    made = {}

    def trainer(**settings):
        key = tuple(sorted(settings.items()))
        if key not in made:
            made[key] = Given(str(tmp_path_factory.mktemp("trl")), **settings)
        return made[key]

    return trainer


def theirs(trainer, data):
    """Value and gradient of the trainer's loss."""
    ones, policy = torch.ones(len(data.rewards), 1, dtype=torch.long), data.policy
    trainer.policy_logprobs = policy
    inputs = {
        "prompt_ids": ones,
        "prompt_mask": ones,
        "completion_ids": data.completion_mask.long(),
        "completion_mask": data.completion_mask.long(),
        "tool_mask": data.loss_mask.long(),
        "advantages": data.advantages,
        "old_per_token_logps": data.old_logprobs,
        "ref_per_token_logps": data.ref_logprobs,
        "num_items_in_batch": data.loss_mask.sum(),
    }
    if trainer.use_vllm:
        inputs["importance_sampling_ratio"] = trainer.weights
    return value_and_gradient(trainer._compute_loss(trainer.model, inputs), policy)


def ours(loss, data):
    """Value and gradient of one of our losses."""
    policy, ref = data.policy, data.ref_logprobs if loss.requires_reference else None
    output = loss(policy, data.old_logprobs, data.advantages, data.loss_mask, loss.denominator(data.loss_mask), ref)
    return value_and_gradient(output.loss, policy)


LOSSES = {
    '`ClippedPolicyLoss(aggregation="token")`': (ClippedPolicyLoss(), {"loss_type": "dapo"}),
    '`ClippedPolicyLoss(aggregation="token")`, one micro-batch': (ClippedPolicyLoss(), {"loss_type": "bnpo"}),
    '`ClippedPolicyLoss(aggregation="sequence")`': (ClippedPolicyLoss(aggregation="sequence"), {"loss_type": "grpo"}),
    '`ClippedPolicyLoss(aggregation="constant")`': (
        ClippedPolicyLoss(aggregation="constant", max_length=LENGTH),
        {"loss_type": "dr_grpo"},
    ),
    "`ClippedPolicyLoss(dual_clip=1.7)`": (ClippedPolicyLoss(dual_clip=1.7), {"loss_type": "dapo", "delta": 1.7}),
    "`ClippedPolicyLoss(kl_coef=0.3)`": (
        ClippedPolicyLoss(kl_coef=0.3),
        {"loss_type": "dapo", "beta": 0.3, "use_bias_correction_kl": False},
    ),
    "`CISPO(clip_low=1, clip_high=0.5)`": (CISPO(1.0, 0.5), {"loss_type": "cispo", "epsilon_high": 1.5}),
}
"""Our loss by name, and the settings of TRL's."""


@pytest.mark.parametrize("name", LOSSES)
def test_losses(agree, trainer, name, dtype, seed):
    loss, settings = LOSSES[name]
    data = batch(seed, dtype, without_tokens=settings["loss_type"] in ("dapo", "bnpo", "cispo", "dr_grpo"))
    label = ", ".join(f"{key}={value}" for key, value in settings.items())
    found, expected = ours(loss, data), theirs(trainer(**settings), data)
    agree(name, f"TRL `{label}`", *zip(found, expected, strict=True))


def test_gspo(agree, trainer, dtype, seed):
    data = batch(seed, dtype, without_tokens=False)
    data.advantages[:] = data.advantages[:, :1]
    settings = {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.03, "epsilon_high": 0.04}
    found, expected = ours(GSPO(0.03, 0.04), data), theirs(trainer(**settings), data)
    agree("`GSPO`, one advantage a completion", "TRL `grpo`, `sequence`", *zip(found, expected, strict=True))


@pytest.mark.parametrize("loss_type", ["dapo", "grpo"])
def test_truncated_importance_sampling(agree, trainer, loss_type, monkeypatch, dtype, seed):
    data, cap = batch(seed, dtype, without_tokens=loss_type == "dapo"), 1.5
    made = trainer(loss_type=loss_type)
    monkeypatch.setattr(made, "use_vllm", True)
    monkeypatch.setattr(
        made, "weights", (data.old_logprobs - data.sampler_logprobs).exp().clamp(max=cap), raising=False
    )
    expected = theirs(made, data)
    aggregation = {"dapo": "token", "grpo": "sequence"}[loss_type]
    loss, policy = ClippedPolicyLoss(aggregation=aggregation, sampler_ratio_cap=cap), data.policy
    denominator = loss.denominator(data.loss_mask)
    output = loss(policy, data.old_logprobs, data.advantages, data.loss_mask, denominator, None, data.sampler_logprobs)
    found = value_and_gradient(output.loss, policy)
    name = f'`ClippedPolicyLoss("{aggregation}", sampler_ratio_cap=c)`'
    agree(name, f"TRL `loss_type={loss_type}`, `token_truncate`", *zip(found, expected, strict=True))


def test_a_completion_without_tokens_counts_in_the_mean_there_and_not_here(trainer, dtype, seed):
    data, loss = batch(seed, dtype), ClippedPolicyLoss(aggregation="sequence")
    share = data.loss_mask.any(1).to(dtype).mean()
    assert 0 < share < 1
    for found, expected in zip(ours(loss, data), theirs(trainer(loss_type="grpo"), data), strict=True):
        torch.testing.assert_close(found * share, expected)


def test_the_kl_penalty_is_multiplied_by_the_ratio_there_by_default(trainer, dtype, seed):
    data = batch(seed, dtype)
    default = theirs(trainer(loss_type="dapo", beta=0.3), data)[1]
    assert float((default - ours(ClippedPolicyLoss(kl_coef=0.3), data)[1]).abs().max()) > 1e-3


def advantages(made, data, columns, order):
    """What a trainer assigns to the completions, in that order, whose groups are neighbors in it."""
    made.lengths, made.rewards = data.completion_mask.sum(1)[order].tolist(), columns[order]
    return made._generate_and_score_completions([{"prompt": "7 8"} for _ in order])["advantages"]


@pytest.mark.parametrize(("theirs", "scale"), [("group", "std"), ("none", "none")])
def test_scale_rewards(agree, trainer, theirs, scale, dtype, seed):
    data = batch(seed, dtype, sizes=(GROUP,) * 5)
    order = data.group_ids.argsort(stable=True)
    expected = advantages(trainer(scale_rewards=theirs), data, data.rewards[:, None], order)
    found = GroupRelative(scale)(data.rewards, data.group_ids, data.completion_mask).advantages[order]
    first = found[:, 0]
    assert torch.equal(found, first[:, None] * data.completion_mask[order])
    besides = 1e-7 if scale == "std" else 0.0  # TRL has n / (n - 1) in fp32
    agree(f'`GroupRelative("{scale}")`', f"TRL `scale_rewards={theirs}`", (first, expected), besides=besides)


def test_gdpo_but_for_the_divisor_of_the_variance(agree, trainer, dtype, seed):
    data = batch(seed, dtype, sizes=(GROUP,) * 5)
    order = data.group_ids.argsort(stable=True)
    columns = torch.stack([data.rewards, data.advantages[:, 0]], 1)
    settings = {"multi_objective_aggregation": "normalize_then_sum", "reward_weights": (1.0, 0.25)}
    expected = advantages(trainer(**settings), data, columns, order)
    root = (len(order) / (len(order) - 1)) ** 0.5
    assigner = BatchWhitened(GDPO(weights=(1.0, 0.25)), over="completions", eps=1e-4 / root)
    signals = TokenSignals(reward_columns=columns)
    found = assigner(data.rewards, data.group_ids, data.completion_mask, signals).advantages[order, 0] / root
    name = '`BatchWhitened(GDPO(...), over="completions")` times `sqrt((n - 1) / n)`'
    agree(name, "TRL `normalize_then_sum`", (found, expected), besides=1e-7)  # as above


def test_soft_overlong(agree, dtype, seed):
    data = batch(seed, dtype)
    lengths = data.completion_mask.sum(1)
    ids = [[7] * length for length in lengths.tolist()]
    expected = torch.tensor(rewards.get_soft_overlong_punishment(18, 10)(completion_ids=ids), dtype=dtype)
    found = SoftOverlong(max_length=18, buffer=10)(torch.zeros_like(expected), data.group_ids, lengths)
    agree("`SoftOverlong`", "TRL `get_soft_overlong_punishment`", (found, expected))

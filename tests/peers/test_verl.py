"""Losses, KL estimates, advantages and the overlong penalty against verl's own functions on the same batches."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peer_batches import DTYPES, SEEDS, batch, peer, value_and_gradient

from iapo import TokenSignals
from iapo.advantages import GDPO, RLOO, BatchWhitened, GroupRelative, ReinforcePlusPlus, SoftOverlong
from iapo.losses import CISPO, GSPO, ClippedPolicyLoss, kl_estimate

core = peer("verl.trainer.ppo.core_algos")
configs = peer("verl.workers.config")
rewards = peer("verl.workers.reward_manager.dapo")
protocol = peer("verl.protocol")
correction = peer("verl.trainer.ppo.rollout_corr_helper")

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.parametrize("seed", SEEDS),
    pytest.mark.parametrize("dtype", DTYPES, ids=str),
]

AGGREGATIONS = {"token": "token-mean", "sequence": "seq-mean-token-mean", "constant": "seq-mean-token-sum-norm"}
ADDED = 1e-8
"""verl adds it to a completion's number of tokens, and to the variance of returns."""

LENGTH = 40
"""What ``aggregation="constant"`` divides by."""


def actor(aggregation: str, completions: int, **clips: float):
    """The configuration from which verl's losses read their clip range and what they divide by.

    A constant is by all completions of the step, as verl's trainer says how many there are.
    """
    config = configs.ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, **clips)
    if aggregation == "constant":
        config.global_batch_info.update(loss_scale_factor=LENGTH, global_batch_size=completions)
    return config


def theirs(name: str, data, aggregation: str, weights: torch.Tensor | None = None, **clips: float):
    """Value and gradient of one of verl's policy losses, its tokens weighted against the mismatch with the sampler."""
    policy = data.policy
    loss, _ = core.get_policy_loss_fn(name)(
        data.old_logprobs,
        policy,
        data.advantages,
        data.loss_mask.to(data.advantages.dtype),
        AGGREGATIONS[aggregation],
        actor(aggregation, len(data.loss_mask), **clips),
        weights,
    )
    return value_and_gradient(loss, policy)


def ours(loss, data):
    """Value and gradient of one of our losses."""
    policy = data.policy
    sampler = data.sampler_logprobs if loss.requires_sampler else None
    denominator = loss.denominator(data.loss_mask)
    output = loss(policy, data.old_logprobs, data.advantages, data.loss_mask, denominator, sampler_logprobs=sampler)
    return value_and_gradient(output.loss, policy)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_clipped(agree, aggregation, dtype, seed):
    data = batch(seed, dtype)
    max_length = LENGTH if aggregation == "constant" else None
    found = ours(ClippedPolicyLoss(0.2, 0.28, aggregation, max_length=max_length, dual_clip=1.7), data)
    expected = theirs("vanilla", data, aggregation, clip_ratio_low=0.2, clip_ratio_high=0.28, clip_ratio_c=1.7)
    name = f'`ClippedPolicyLoss(aggregation="{aggregation}", dual_clip=c)`'
    besides = 2 * ADDED if aggregation == "sequence" else 0.0
    agree(name, f"verl `vanilla`, `{AGGREGATIONS[aggregation]}`", *zip(found, expected, strict=True), besides=besides)


@pytest.mark.parametrize("cap", [1.2, 2.0])
def test_truncated_importance_sampling(agree, cap, dtype, seed):
    data = batch(seed, dtype)
    weights, _ = correction.compute_rollout_correction_weights(
        data.old_logprobs - data.sampler_logprobs, data.loss_mask.to(dtype), "token", cap
    )
    assert 0 < int((weights == cap).sum()) < int(data.loss_mask.sum())
    found = ours(ClippedPolicyLoss(0.2, 0.28, dual_clip=3.0, sampler_ratio_cap=cap), data)
    expected = theirs("vanilla", data, "token", weights, clip_ratio_low=0.2, clip_ratio_high=0.28, clip_ratio_c=3.0)
    name = "`ClippedPolicyLoss(sampler_ratio_cap=c)`"
    agree(name, "verl `vanilla`, `rollout_is: token`", *zip(found, expected, strict=True))


def test_micro_batches_of_a_step(agree, dtype, seed):
    data = batch(seed, dtype)
    whole = ours(ClippedPolicyLoss(0.2, 0.28, dual_clip=3.0), data)
    config, policy = actor("token", len(data.loss_mask), clip_ratio_low=0.2, clip_ratio_high=0.28), data.policy
    config.global_batch_info["batch_num_tokens"] = int(data.loss_mask.sum())
    parts = [
        core.compute_policy_loss_vanilla(
            data.old_logprobs[rows], policy[rows], data.advantages[rows], data.loss_mask[rows].to(dtype), config=config
        )[0]
        for rows in (slice(0, 3), slice(3, 8), slice(8, None))
    ]
    expected = value_and_gradient(torch.stack(parts).sum(), policy)
    agree("`ClippedPolicyLoss`, whole step", "verl `vanilla`, micro-batches", *zip(whole, expected, strict=True))


def test_gspo(agree, dtype, seed):
    data = batch(seed, dtype)
    found = ours(GSPO(0.03, 0.04), data)
    expected = theirs("gspo", data, "sequence", clip_ratio_low=0.03, clip_ratio_high=0.04)
    agree("`GSPO`", "verl `gspo`, `seq-mean-token-mean`", *zip(found, expected, strict=True), besides=2 * ADDED)


def test_cispo(agree, dtype, seed):
    data = batch(seed, dtype)
    found = ours(CISPO(0.3, 0.5), data)
    expected = theirs("cispo", data, "token", clip_ratio_low=0.3, clip_ratio_high=0.5)
    agree("`CISPO`", "verl `cispo`, `token-mean`", *zip(found, expected, strict=True))


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_kl(agree, estimator, dtype, seed):
    data = batch(seed, dtype)
    first, second = data.policy, data.policy
    found = kl_estimate(first - data.ref_logprobs, estimator)
    expected = core.kl_penalty(second, data.ref_logprobs, estimator)
    weights = data.advantages
    gradients = [
        torch.autograd.grad((weights * kl).sum(), policy)[0] for kl, policy in ((found, first), (expected, second))
    ]
    agree(
        f'`kl_estimate(..., "{estimator}")`', f"verl `kl_penalty`, `{estimator}`", (found, expected), tuple(gradients)
    )


def test_kl_is_not_cut_off_here(dtype, seed):
    apart = torch.tensor([[4.0]], dtype=dtype) + seed
    assert float(core.kl_penalty(-apart, torch.zeros(1, 1, dtype=dtype), "k3")) == 10
    assert float(kl_estimate(-apart, "k3")) > 10


def outcome(data):
    """Rewards at the last token of each completion, the mask, and group labels, as verl takes them."""
    token_rewards = torch.zeros_like(data.advantages)
    last = data.completion_mask.sum(1) - 1
    token_rewards[torch.arange(len(last)), last] = data.rewards
    index = np.array([f"group {group}" for group in data.group_ids.tolist()], dtype=object)
    return token_rewards, data.completion_mask.to(data.advantages.dtype), index


def assigned(assigner, data):
    """Our advantages."""
    return assigner(data.rewards, data.group_ids, data.completion_mask).advantages


@pytest.mark.parametrize("scale", ["std", "none"])
@pytest.mark.parametrize("function", ["grpo", "grpo_vectorized"])
def test_grpo(agree, function, scale, dtype, seed):
    data = batch(seed, dtype)
    expected, _ = core.get_adv_estimator_fn(function)(*outcome(data), norm_adv_by_std_in_grpo=scale == "std")
    found = assigned(GroupRelative(scale, eps=1e-6), data)
    besides = 1e-6 if function == "grpo_vectorized" else 0.0  # which takes means in fp32
    agree(f'`GroupRelative("{scale}", eps=1e-6)`', f"verl `{function}`", (found, expected), besides=besides)


@pytest.mark.parametrize("function", ["rloo", "rloo_vectorized"])
def test_rloo(agree, function, dtype, seed):
    data = batch(seed, dtype)
    expected, _ = core.get_adv_estimator_fn(function)(*outcome(data))
    agree("`RLOO`", f"verl `{function}`", (assigned(RLOO(), data), expected))


@pytest.mark.parametrize("discount", [1.0, 0.97])
def test_reinforce_plus_plus_but_for_the_divisor_of_the_variance(agree, discount, dtype, seed):
    data = batch(seed, dtype)
    token_rewards, mask, _ = outcome(data)
    expected, _ = core.compute_reinforce_plus_plus_outcome_advantage(
        token_rewards, mask, config=SimpleNamespace(gamma=discount)
    )
    tokens = data.completion_mask.sum()
    found = assigned(ReinforcePlusPlus(discount), data) * ((tokens - 1) / tokens).to(dtype).sqrt()
    name = "`ReinforcePlusPlus` times `sqrt((n - 1) / n)`"
    agree(name, "verl `reinforce_plus_plus`", (found, expected), besides=20 * ADDED)


def test_whitened_baseline_but_for_the_divisor_of_the_variance(agree, dtype, seed):
    data = batch(seed, dtype)
    expected, _ = core.compute_reinforce_plus_plus_baseline_outcome_advantage(*outcome(data))
    tokens = data.completion_mask.sum()
    found = assigned(BatchWhitened(GroupRelative("none")), data) * ((tokens - 1) / tokens).to(dtype).sqrt()
    name = '`BatchWhitened(GroupRelative("none"))` times `sqrt((n - 1) / n)`'
    agree(name, "verl `reinforce_plus_plus_baseline`", (found, expected), besides=20 * ADDED)


def test_gdpo_but_for_the_divisor_of_the_variance(agree, dtype, seed):
    data = batch(seed, dtype)
    token_rewards, mask, index = outcome(data)
    columns = torch.stack([data.rewards, data.advantages[:, 0]], 1)
    expected, _ = core.compute_gdpo_outcome_advantage(
        token_rewards.float(),
        mask.float(),
        index,
        config={"gdpo_reward_keys": ["one", "other"], "gdpo_reward_weights": [1.0, 0.25]},
        non_tensor_batch={"one": columns[:, 0].numpy(), "other": columns[:, 1].numpy()},
        batch={"prompts": mask[:, :1], "attention_mask": torch.nn.functional.pad(mask.long(), (1, 0), value=1)},
    )
    assigner, tokens = BatchWhitened(GDPO(weights=(1.0, 0.25), eps=1e-6)), data.completion_mask.sum()
    signals = TokenSignals(reward_columns=columns)
    found = assigner(data.rewards, data.group_ids, data.completion_mask, signals).advantages
    found = (found * ((tokens - 1) / tokens).to(dtype).sqrt()).float()
    agree("`BatchWhitened(GDPO(eps=1e-6))` times `sqrt((n - 1) / n)`", "verl `gdpo`", (found, expected))


def test_equal_rewards_are_exactly_zero_here_only(dtype, seed):
    data = batch(seed, dtype, sizes=(7,))
    data.rewards[:] = 0.1
    expected, _ = core.compute_grpo_outcome_advantage(*outcome(data))
    assert not assigned(GroupRelative(eps=1e-6), data).any()
    assert float(expected.abs().max()) < 0.1


def test_a_group_of_one_has_its_reward_as_advantage_there(dtype, seed):
    data = batch(seed, dtype, sizes=(1,))
    expected, _ = core.compute_grpo_outcome_advantage(*outcome(data))
    torch.testing.assert_close(expected[0, 0], data.rewards[0], rtol=2e-6, atol=0)
    assert not assigned(GroupRelative(eps=1e-6, allow_singletons=True), data).any()


def test_soft_overlong_up_to_the_limit(agree, dtype, seed):
    data = batch(seed, dtype)
    rows, width = data.completion_mask.shape
    buffer = SimpleNamespace(enable=True, len=10, penalty_factor=0.7, log=False)
    scores = iter(data.rewards.tolist())
    manager = rewards.DAPORewardManager(
        SimpleNamespace(decode=lambda ids, skip_special_tokens: "", eos_token="</s>"),
        num_examine=0,
        compute_score=lambda **_: next(scores),
        max_resp_len=width,
        overlong_buffer_cfg=buffer,
    )
    items = protocol.DataProto.from_dict(
        tensors={
            "prompts": torch.ones(rows, 1, dtype=torch.long),
            "responses": torch.ones(rows, width, dtype=torch.long),
            "attention_mask": torch.nn.functional.pad(data.completion_mask.long(), (1, 0), value=1),
        },
        non_tensors={
            "reward_model": np.array([{"ground_truth": ""}] * rows, dtype=object),
            "data_source": np.array(["none"] * rows, dtype=object),
        },
    )
    expected = manager(items).sum(1)
    shaping = SoftOverlong(max_length=width, buffer=10, weight=0.7)
    found = shaping(data.rewards, data.group_ids, data.completion_mask.sum(1))
    agree("`SoftOverlong`", "verl `DAPORewardManager`", (found.float(), expected))

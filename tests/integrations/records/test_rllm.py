"""Token advantages that a grouping hook writes into rLLM's steps reach the datums of its tinker backend."""

from types import SimpleNamespace

import pytest
import torch
from sampled import GROUP, sampled

from iapo.integrations.precomputed import precomputed_advantages

pytest.importorskip("rllm", reason="pip install git+https://github.com/rllm-org/rllm")
transform = pytest.importorskip("rllm.trainer.tinker.transform", reason="rLLM's tinker backend")
from rllm.trainer.algorithms import (  # noqa: E402
    AlgorithmConfig,
    TransformConfig,
    collect_reward_and_advantage_from_trajectory_groups,
    transform_episodes_to_trajectory_groups,
)
from rllm.trainer.algorithms.transform import _default_traj_grouping_hook  # noqa: E402
from rllm.types import Episode, Step, Trajectory  # noqa: E402


@pytest.fixture(scope="module")
def grouped():
    """Trajectory groups whose steps have token advantages, as docs/engines.md makes them, and these as tensors."""
    batch = sampled()
    credited, mask = batch.credit()
    steps = [
        Step(prompt_ids=prompt, response_ids=completion, logprobs=[-0.5] * len(completion))
        for prompt, completion in zip(batch.prompts, batch.completions, strict=True)
    ]
    episodes = [
        Episode(
            id=f"{batch.groups[i]}:{i % GROUP}", trajectories=[Trajectory(name="solver", steps=[step], reward=reward)]
        )
        for i, (step, reward) in enumerate(zip(steps, batch.rewards, strict=True))
    ]

    def hook(episodes, transform_config, compact_filtering_config):
        groups = _default_traj_grouping_hook(episodes, transform_config, compact_filtering_config)
        trajectories = [trajectory for group in groups for trajectory in group.trajectories]
        rows = precomputed_advantages(credited, mask)
        for trajectory, row in zip(trajectories, rows, strict=True):
            trajectory.steps[0].advantage = row
        return groups

    groups, _ = transform_episodes_to_trajectory_groups(episodes, TransformConfig(), traj_grouping_hook=hook)
    assert [len(group.trajectories) for group in groups] == [GROUP] * 3
    return SimpleNamespace(groups=groups, steps=steps, credited=credited, mask=mask)


def test_collected_as_they_are(grouped):
    before = [list(step.advantage) for step in grouped.steps]
    metrics = collect_reward_and_advantage_from_trajectory_groups(
        grouped.groups, AlgorithmConfig(use_precomputed_advantage=True)
    )
    assert [step.advantage for step in grouped.steps] == before
    mean = float(grouped.credited.advantages[grouped.mask].double().mean())
    assert metrics["advantage/solver/mean"] == pytest.approx(mean, abs=1e-6)


def test_datums(grouped):
    datums, _ = transform.transform_trajectory_groups_to_datums(
        grouped.groups, AlgorithmConfig(use_precomputed_advantage=True)
    )
    assert len(datums) == len(grouped.steps)
    for row, datum in enumerate(datums):
        of_policy = datum.loss_fn_inputs["mask"].to_torch().bool()
        own = datum.loss_fn_inputs["advantages"].to_torch()
        assert not own[~of_policy].any()
        torch.testing.assert_close(own[of_policy], grouped.credited.advantages[row][grouped.mask[row]], atol=0, rtol=0)

"""Token advantages in the datums of tinker's cookbook stand at the tokens that they belong to."""

import pytest
import torch

from iapo import AdvantageOutput
from iapo.integrations.precomputed import precomputed_advantages
from iapo.ops.padding import pad_rows

tinker = pytest.importorskip("tinker", reason="pip install tinker")
data_processing = pytest.importorskip("tinker_cookbook.rl.data_processing", reason="pip install tinker-cookbook")
from sampled import sampled  # noqa: E402
from tinker_cookbook.completers import TokensWithLogprobs  # noqa: E402
from tinker_cookbook.rl.types import Trajectory, TrajectoryGroup, Transition  # noqa: E402


def trajectory(turns: list[tuple[list[int], list[int]]]):
    """A trajectory whose observations are what came before, and a text."""
    transitions, before = [], []
    for text, action in turns:
        seen = [*before, *text]
        taken = TokensWithLogprobs(tokens=action, maybe_logprobs=[-0.5] * len(action))
        transitions.append(Transition(tinker.ModelInput.from_ints(seen), taken, reward=0.0, episode_done=False))
        before = [*seen, *action]
    return Trajectory(transitions=transitions, final_ob=tinker.ModelInput.from_ints(before))


def put(data, prompts, rows):
    """As docs/engines.md does."""
    for datum, prompt, row in zip(data, prompts, rows, strict=True):
        values = [0.0] * (len(prompt) - 1) + row
        datum.loss_fn_inputs["advantages"] = tinker.TensorData(values, dtype="float32")


def advantages_of(datum):
    return datum.loss_fn_inputs["advantages"].to_torch()


def assembled(trajectories, advantages):
    groups = [TrajectoryGroup(trajectories, [0.0] * len(trajectories), [{} for _ in trajectories])]
    return data_processing.assemble_training_data(groups, [torch.tensor(advantages)])[0]


def test_one_number_for_each_completion_is_the_cookbooks_own():
    prompts, completions = [[1, 2, 3], [1]], [[4, 5], [6, 7, 8, 9]]
    trajectories = [trajectory([turn]) for turn in zip(prompts, completions, strict=True)]
    expected = assembled(trajectories, [0.5, -1.5])
    mask = pad_rows(completions, 0)[1]
    output = AdvantageOutput(torch.tensor([[0.5], [-1.5]]).expand(2, 4) * mask, mask, {})
    data = assembled(trajectories, [0.0, 0.0])
    put(data, prompts, precomputed_advantages(output, mask))
    for datum, other in zip(data, expected, strict=True):
        torch.testing.assert_close(advantages_of(datum), advantages_of(other), atol=0, rtol=0)


def test_turns_of_others_between_those_of_the_policy():
    prompt, first, tool, second = [1, 2, 3], [4, 5], [6, 7, 8], [9, 10]
    completion = [*first, *tool, *second]
    written = torch.tensor([[token in first or token in second for token in completion]])
    # The advantage of a token says which one it is; one token of the policy is out of the loss.
    in_loss = written & (torch.tensor([completion]) != 5)
    output = AdvantageOutput(torch.tensor([completion]).float() * in_loss, in_loss, {})
    data = assembled([trajectory([(prompt, first), (tool, second)])], [0.0])
    put(data, [prompt], precomputed_advantages(output, torch.ones_like(written)))
    targets = data[0].loss_fn_inputs["target_tokens"].to_torch()
    assert targets.tolist() == [*prompt[1:], *completion]
    counts = data[0].loss_fn_inputs["mask"].to_torch().bool() & (targets != 5)
    assert torch.equal(advantages_of(data[0]), targets.float() * counts)


def test_information_aware_advantages():
    batch = sampled()
    credited, mask = batch.credit()
    data = assembled(
        [trajectory([turn]) for turn in zip(batch.prompts, batch.completions, strict=True)], [0.0] * len(mask)
    )
    put(data, batch.prompts, precomputed_advantages(credited, mask))
    for row, datum in enumerate(data):
        own = advantages_of(datum)[datum.loss_fn_inputs["mask"].to_torch().bool()]
        torch.testing.assert_close(own, credited.advantages[row][mask[row]], atol=0, rtol=0)
    assert credited.information.any()

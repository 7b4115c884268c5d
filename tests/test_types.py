"""The records between components: what they refuse, by name, and what selecting, joining and padding keep."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo import AdvantageInputs, AdvantageOutput, LossOutput, Rollout, StepStats, TokenSignals
from iapo.testing import loss_inputs, reward_batches, rollouts


def fields(batch: int = 2) -> dict[str, torch.Tensor]:
    ids, mask = torch.ones(batch, 3, dtype=torch.long), torch.ones(batch, 3, dtype=torch.bool)
    wide, seen = torch.ones(batch, 4, dtype=torch.long), torch.ones(batch, 4, dtype=torch.bool)
    return {
        "prompt_ids": ids,
        "prompt_mask": mask,
        "completion_ids": wide,
        "completion_mask": seen,
        "reasoning_mask": seen,
        "group_ids": torch.zeros(batch, dtype=torch.long),
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt_ids", torch.ones(2, 3)),
        ("prompt_mask", torch.ones(2, 3)),
        ("completion_ids", torch.ones(3, 4, dtype=torch.long)),
        ("completion_mask", torch.ones(2, 4, dtype=torch.long)),
        ("reasoning_mask", torch.ones(2, 5, dtype=torch.bool)),
        ("group_ids", torch.zeros(2, 1, dtype=torch.long)),
        ("sampler_logprobs", torch.zeros(2, 4, dtype=torch.long)),
        ("sampler_logprobs", [[0.0] * 4] * 2),
    ],
)
def test_a_wrong_shape_or_dtype_is_named_with_the_sizes(name, value):
    with pytest.raises(TypeError, match=f"parameter '{name}'") as error:
        Rollout(**fields() | {name: value})
    assert "[2,4](torch)" in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_mask": torch.tensor([[True, True, False]] * 2)}, "prompt_mask"),
        ({"completion_mask": torch.tensor([[True, False, True, True]] * 2)}, "completion_mask: must be right-padded"),
        ({"completion_mask": torch.tensor([[True, True, False, False]] * 2)}, "reasoning_mask: must be a subset"),
        ({"answer_ids": torch.ones(2, 1, dtype=torch.long)}, "give both or neither, got only answer_ids"),
        ({"group_ids": torch.zeros(2, dtype=torch.long, device="meta")}, "group_ids on meta"),
    ],
)
def test_masks_that_mean_nothing_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Rollout(**fields() | change)


@given(rollouts(max_batch=5), st.data())
def test_selected_rows_are_the_same_completions(rollout, data):
    rows = torch.tensor(data.draw(st.lists(st.integers(0, len(rollout) - 1), min_size=1, max_size=6)))
    part = rollout.select(rows)
    for new, old in enumerate(rows.tolist()):
        for field in ("prompt", "completion", "answer"):
            ids, mask = f"{field}_ids", f"{field}_mask"
            kept = getattr(part, ids)[new][getattr(part, mask)[new]]
            assert torch.equal(kept, getattr(rollout, ids)[old][getattr(rollout, mask)[old]])
        width = part.completion_ids.shape[1]
        assert torch.equal(part.reasoning_mask[new], rollout.reasoning_mask[old][:width])
        assert part.group_ids[new] == rollout.group_ids[old]
    assert part.completion_ids.shape[1] == max(1, int(part.completion_lengths.max()))


def trimmed(rollout: Rollout) -> dict[str, torch.Tensor]:
    """All fields, without padding that no row needs."""
    return {name: value for name, value in vars(rollout.select(slice(None))).items() if value is not None}


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@given(st.lists(rollouts(), min_size=1, max_size=3))
def test_joined_rollouts_can_be_taken_apart_again(parts):
    joined, start = Rollout.cat(parts), 0
    for part in parts:
        assert_same(trimmed(joined.select(slice(start, start + len(part)))), trimmed(part))
        start += len(part)
    assert start == len(joined)
    for name in ("prompt_ids", "completion_ids", "answer_ids"):
        assert getattr(joined, name).shape[1] == max(getattr(part, name).shape[1] for part in parts)


@given(first=rollouts(), second=rollouts())
def test_joined_padding_is_masked_whatever_it_holds(first, second):
    """The tokens of each row are its own, though the rollouts have random token ids in their padding."""
    joined = Rollout.cat([first, second])
    rows = [(part, i) for part in (first, second) for i in range(len(part))]
    for name in ("prompt", "completion", "answer"):
        ids, mask = getattr(joined, f"{name}_ids"), getattr(joined, f"{name}_mask")
        for row, (part, i) in enumerate(rows):
            own = getattr(part, f"{name}_ids")[i][getattr(part, f"{name}_mask")[i]]
            assert ids[row][mask[row]].tolist() == own.tolist()


def test_joining_leaves_out_what_one_rollout_lacks():
    full = Rollout(
        **fields(),
        sampler_logprobs=torch.zeros(2, 4),
        answer_ids=torch.ones(2, 5, dtype=torch.long),
        answer_mask=torch.ones(2, 5, dtype=torch.bool),
    )
    for parts in ([full, Rollout(**fields())], [Rollout(**fields()), full]):
        joined = Rollout.cat(parts)
        assert joined.sampler_logprobs is joined.answer_ids is joined.answer_mask is None
        assert len(joined) == 4
    with pytest.raises(ValueError, match="rollouts: got none"):
        Rollout.cat([])


@given(rollouts(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 99))
def test_padding_is_wider_masked_and_nothing_else(rollout, prompt, token, answer, pad_id):
    wide = rollout.pad(prompt=prompt, token=token, answer=answer, pad_id=pad_id)
    assert_same(trimmed(wide), trimmed(rollout))
    more = {"prompt": prompt, "completion": token, "answer": answer}
    for name, added in more.items():
        ids, narrow = getattr(wide, f"{name}_ids"), getattr(rollout, f"{name}_ids")
        assert ids.shape[1] == narrow.shape[1] + added
        padding = ids[:, :added] if name == "prompt" else ids[:, narrow.shape[1] :]
        assert (padding == pad_id).all()
    assert wide.reasoning_mask.shape == wide.sampler_logprobs.shape == wide.completion_ids.shape


def test_padding_answers_that_are_missing_changes_nothing():
    assert_same(trimmed(Rollout(**fields()).pad(answer=2)), trimmed(Rollout(**fields())))


def test_padding_does_not_cut():
    with pytest.raises(ValueError, match="prompt, token, answer, exit: got 0, -1, 0, 0"):
        Rollout(**fields()).pad(token=-1)


@given(reward_batches(), st.data())
def test_selected_advantage_inputs_are_those_rows(inputs, data):
    rows = torch.tensor(data.draw(st.lists(st.integers(0, len(inputs) - 1), max_size=6)), dtype=torch.long)
    part = inputs.select(rows)
    assert len(part) == len(rows)
    for name in ("rewards", "correct", "group_ids", "completion_mask"):
        assert torch.equal(getattr(part, name), getattr(inputs, name)[rows])
    for name, value in vars(inputs.signals).items():
        found = getattr(part.signals, name)
        assert (found is None) if value is None else torch.equal(found, value[rows])


def test_signals_may_be_left_out():
    mask = torch.ones(2, 3, dtype=torch.bool)
    inputs = AdvantageInputs(torch.zeros(2), mask[:, 0], torch.zeros(2, dtype=torch.long), mask)
    assert all(signal is None for signal in vars(inputs.signals).values())
    assert len(inputs.select(slice(0, 1))) == 1


@given(inputs=reward_batches())
def test_advantage_inputs_fit_each_other(inputs):
    token = inputs.completion_mask.shape[1]
    with pytest.raises(TypeError, match="parameter 'group_ids'"):
        dataclasses.replace(inputs, group_ids=inputs.group_ids[:-1])
    with pytest.raises(ValueError, match=r"signals.policy_entropy: want the shape of completion_mask .*, got \(1, 9\)"):
        dataclasses.replace(inputs, signals=TokenSignals(policy_entropy=torch.zeros(1, 9)))
    values = TokenSignals(prefix_values=torch.zeros(len(inputs), token))
    with pytest.raises(ValueError, match=r"signals.prefix_values: want shape \(batch, token \+ 1\) = .*, got \("):
        dataclasses.replace(inputs, signals=values)
    elsewhere = TokenSignals(information=torch.zeros(len(inputs), token, device="meta"))
    with pytest.raises(ValueError, match=r"AdvantageInputs: .* one device.*signals.information on meta"):
        dataclasses.replace(inputs, signals=elsewhere)


@given(inputs=loss_inputs())
def test_loss_inputs_fit_each_other(inputs):
    with pytest.raises(TypeError, match="parameter 'advantages'"):
        dataclasses.replace(inputs, advantages=inputs.advantages[:, :-1])
    with pytest.raises(TypeError, match="parameter 'denominator'"):
        dataclasses.replace(inputs, denominator=torch.ones(1))
    with pytest.raises(ValueError, match=r"LossInputs: .* one device.*old_logprobs on meta"):
        dataclasses.replace(inputs, old_logprobs=inputs.old_logprobs.to("meta"))
    assert len(inputs) == len(inputs.loss_mask)


@given(inputs=reward_batches(), losses=loss_inputs())
def test_records_are_frozen(inputs, losses):
    for record in (Rollout(**fields()), TokenSignals(), StepStats(1, True, 0.0, 0.1, 0), inputs, losses):
        with pytest.raises(dataclasses.FrozenInstanceError):
            record.anything = 1


def test_outputs_are_checked_too():
    with pytest.raises(TypeError, match="loss"):
        LossOutput(torch.zeros(2), {})
    with pytest.raises(TypeError, match="metrics"):
        LossOutput(torch.zeros(()), {"kl": torch.zeros(2)})
    with pytest.raises(TypeError, match="information_mask"):
        TokenSignals(information=torch.zeros(2, 3), information_mask=torch.zeros(2, 4, dtype=torch.bool))


def test_changed_changes_the_advantages_and_their_terms_alike():
    mask = torch.tensor([[True, True, False]])
    terms = {"base": torch.tensor([[1.0, 2.0, 0.0]]), "bonus": torch.tensor([[0.5, -2.0, 0.0]])}
    output = AdvantageOutput(terms["base"] + terms["bonus"], mask, {"mean": 0.75}, terms)
    halved = output.changed(lambda values: values / 2, mask & False)
    assert halved.advantages.tolist() == [[0.75, 0.0, 0.0]]
    assert halved.terms
    assert torch.equal(sum(halved.terms.values()), halved.advantages)
    assert not halved.loss_mask.any()
    assert halved.metrics == {"mean": 0.75}
    plain = AdvantageOutput(output.advantages, mask, {}).changed(torch.neg)
    assert plain.terms is None
    assert plain.loss_mask is mask

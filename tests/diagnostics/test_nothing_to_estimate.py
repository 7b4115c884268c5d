"""Diagnostics where there is nothing to estimate, and token classes of the embedded task."""

import dataclasses

import pytest
import torch

from iapo import Rollout
from iapo.diagnostics import (
    classify_completions,
    entropy_by_correctness,
    group_covariances,
    information_by_class,
    information_slope,
    length_change,
    length_gradient,
    ratio_of_sums,
    realized_length_change,
)
from iapo.embedded import classify, generate_problems, model_path, rows
from iapo.rollout import TransformersSampler


class TestNothingToEstimate:
    mask = torch.tensor([[True, True, False], [True, False, False]])
    same_length = torch.ones(2, 3, dtype=torch.bool)
    values = torch.tensor([[-1.0, -2.0, 0.0], [-0.5, 0.0, 0.0]])
    alone, together = torch.tensor([0, 1]), torch.tensor([4, 4])

    def gradient(self, mask, ids):
        parameter = torch.ones((), requires_grad=True)
        rollout = Rollout(torch.ones(len(ids), 1).long(), torch.ones(len(ids), 1).bool(), mask.long(), mask, mask, ids)
        pulls = {"x": torch.ones(mask.shape)}

        def logprobs(part):
            assert len(part), "models do not take an empty batch"
            return parameter * part.completion_mask

        return length_gradient(logprobs, [parameter], rollout, pulls, 8)

    def test_groups_of_one(self):
        assert length_change(self.values, self.values + 1, self.mask, self.alone) is None
        assert information_slope(self.values, self.mask, self.mask, self.alone) is None
        assert self.gradient(self.mask, self.alone) == {}
        assert group_covariances(torch.ones(2), torch.ones(2), self.alone).shape == (0,)

    def test_groups_too_small_for_two_halves(self):
        mask = torch.tensor([[True, True], [True, False], [True, True]])
        assert self.gradient(mask, torch.tensor([0, 0, 0])) == {}

    def test_equal_lengths(self):
        change = length_change(self.values, self.values * 1.1, self.same_length, self.together)
        assert (change.first_order.value, change.exact.value) == (0, 0)
        assert information_slope(self.values, self.same_length, self.same_length, self.together) is None
        assert self.gradient(torch.ones(4, 3, dtype=torch.bool), torch.zeros(4).long()) == {"x": 0.0}

    def test_no_correct_completion(self):
        found = entropy_by_correctness(self.values, self.mask, self.together, torch.tensor([False, False]))
        assert set(found) == {"wrong"}

    def test_no_tokens_and_no_completions(self):
        nothing = torch.zeros(2, 3, dtype=torch.bool)
        assert entropy_by_correctness(self.values, nothing, self.together, torch.tensor([True, False])) == {}
        assert information_slope(self.values, nothing, nothing, self.together) is None
        assert information_by_class(self.values, nothing, self.mask, self.together, [["a", "b"], ["a"]]) == {}
        assert length_change(self.values, self.values, nothing, self.together).first_order.value == 0
        empty, ids = torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)
        assert length_change(empty, empty, empty.bool(), ids) is None
        assert information_slope(empty, empty.bool(), empty.bool(), ids) is None
        assert entropy_by_correctness(empty, empty.bool(), ids, ids.bool()) == {}
        assert realized_length_change(empty.bool(), ids, empty.bool(), ids) is None
        assert self.gradient(empty.bool(), ids) == {}

    def test_no_prompt_in_both(self):
        assert realized_length_change(self.mask, self.alone, self.mask, torch.tensor([2, 3])) is None

    def test_one_group_has_no_standard_error_and_metrics_say_so(self):
        change = length_change(self.values, self.values + 0.1, self.mask, self.together)
        prefix = "iapo/diagnostics/length_change"
        assert set(change.metrics()) == {f"{prefix}/first_order", f"{prefix}/exact"}
        assert set(ratio_of_sums(torch.ones(2), torch.ones(2)).metrics("x")) == {"x", "x_se"}

    def test_a_ratio_that_overflows_is_left_out(self):
        change = length_change(self.values, self.values + 500, self.mask, self.together)
        assert change.exact is None
        assert change.first_order.value == pytest.approx(250)
        assert "iapo/diagnostics/length_change/exact" not in change.metrics()

    @pytest.mark.parametrize("bad", [torch.nan, -torch.inf])
    def test_log_probabilities_that_are_not_finite_are_named(self, bad):
        spoiled = self.values.clone()
        spoiled[1, 0] = bad
        with pytest.raises(FloatingPointError, match=r"rows \[1\]"):
            length_change(self.values, spoiled, self.mask, self.together)

    def test_labels_and_pulls_of_another_size_are_named(self):
        with pytest.raises(ValueError, match=r"labels\[1\]: got 2 labels for 1 tokens"):
            information_by_class(self.values, self.mask, self.mask, self.together, [["a", "b"], ["a", "b"]])
        with pytest.raises(ValueError, match=r"labels: got 1 completions, want 2"):
            information_by_class(self.values, self.mask, self.mask, self.together, [["a", "b"]])
        rollout = Rollout(self.mask.long(), self.same_length, self.mask.long(), self.mask, self.mask, self.together)
        with pytest.raises(ValueError, match=r"pulls\['x'\]: got shape \(2, 2\)"):
            length_gradient(lambda part: part, [], rollout, {"x": torch.ones(2, 2)}, 8)
        with pytest.raises(ValueError, match="micro_batch: got 0"):
            length_gradient(lambda part: part, [], rollout, {}, 0)


def test_tokens_of_the_embedded_task_get_their_classes():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_path())
    model = AutoModelForCausalLM.from_pretrained(model_path())
    torch.manual_seed(0)
    problems = rows(generate_problems(4, seed=5))
    rollout = TransformersSampler(model, tokenizer, max_new_tokens=30)([row["prompt"] for row in problems], 4)
    prompts = [problems[group]["prompt"] for group in rollout.group_ids.tolist()]
    labels = classify_completions(rollout, prompts, tokenizer, classify)
    ended = rollout.completion_lengths < 30
    assert ended.any()
    assert not ended.all()
    assert all(labels[row][-1] == "format" for row in ended.nonzero().flatten().tolist()), "end of sequence has a class"
    information = torch.ones(rollout.completion_mask.shape)
    found = information_by_class(
        information, rollout.completion_mask, rollout.completion_mask, rollout.group_ids, labels
    )
    assert {"needed", "filler", "format"} <= set(found)
    assert all(estimate.value == 1 for estimate in found.values())
    assert dataclasses.asdict(found["needed"]) == {"value": 1.0, "standard_error": 0.0, "groups": 4}

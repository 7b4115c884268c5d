"""What a span is worth to the text behind it: against a loop of whole forwards, and in closed form."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from left_out import naive_leave_out, spans_of
from models import FAMILIES, VOCAB, model_shapes, tiny_model
from tolerances import rounding

from iapo import Rollout
from iapo.estimators import EveryTokens, LeaveOut
from iapo.estimators.boundaries import Boundaries
from iapo.estimators.packed import packing
from iapo.estimators.spans import runs_of_spans
from iapo.testing import rollouts
from iapo.testing.models import tiny_llama


@dataclasses.dataclass(frozen=True)
class Every(Boundaries):
    """Boundaries at the tokens whose id is divisible by a number: irregular, and the same in any padding."""

    number: int

    def __call__(self, rollout):
        return torch.nn.functional.pad(rollout.completion_ids % self.number == 0, (0, 1))


ESTIMATORS = st.builds(
    LeaveOut,
    boundaries=st.one_of(st.builds(Every, st.integers(2, 4)), st.builds(EveryTokens, st.integers(1, 4))),
    window=st.sampled_from([None, None, 1, 2, 3]),
    runs=st.integers(1, 3),
    tokens=st.sampled_from([None, None, 1, 2, 5]),
    chunk=st.sampled_from([None, 1, 2, 5]),
)


@pytest.mark.parametrize("family", FAMILIES)
@given(shape=model_shapes(), rollout=rollouts(vocab=VOCAB), estimator=ESTIMATORS)
@settings(max_examples=15, deadline=None)
def test_it_is_exact(family, shape, rollout, estimator):
    model = tiny_model(family, **shape)
    expected, largest = naive_leave_out(model, rollout, estimator)
    found = estimator(model, rollout)
    torch.testing.assert_close(found.double(), expected, atol=rounding(model, torch.tensor(largest)), rtol=0)


@given(rollout=rollouts(vocab=VOCAB), estimator=ESTIMATORS)
@settings(max_examples=10, deadline=None)
def test_sliding_windows_and_few_logits_at_once(rollout, estimator):
    """Rows go one by one where the logits of all would be too many, and a window of attention hides what is far."""
    config = {"sliding_window": 4, "use_sliding_window": True, "layer_types": ["sliding_attention", "full_attention"]}
    model = tiny_model("qwen3", **config)
    expected, largest = naive_leave_out(model, rollout, estimator)
    rows = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("iapo.estimators.leave_out.MAX_LOGITS", 40)
        hook = model.register_forward_hook(lambda module, inputs, output: rows.append(len(output.logits)))
        found = estimator(model, rollout)
        hook.remove()
    assert set(rows) <= {1}
    torch.testing.assert_close(found.double(), expected, atol=rounding(model, torch.tensor(largest)), rtol=0)


def test_padding_of_blocks_takes_no_positions_of_its_own():
    """A model whose positions end with the text: the short rest of a late span is padded to the length of others."""
    model = tiny_model("gpt2")
    model.config.n_positions = 20
    model.transformer.wpe = torch.nn.Embedding.from_pretrained(model.transformer.wpe.weight[:20])
    ids = torch.randint(3, VOCAB, (2, 20))
    mask = torch.ones(2, 16, dtype=torch.bool)
    rollout = Rollout(ids[:, :4], mask[:, :4], ids[:, 4:], mask, mask, torch.zeros(2, dtype=torch.long))
    estimator = LeaveOut(EveryTokens(2), runs=1, guard=False)
    torch.testing.assert_close(
        estimator(model, rollout).double(), naive_leave_out(model, rollout, estimator)[0], atol=1e-4, rtol=0
    )


def test_temperature_is_that_of_the_distribution():
    model, rollout = tiny_model("llama"), example()
    estimator = LeaveOut(EveryTokens(3), temperature=0.5)
    model.register_forward_hook(lambda module, inputs, output: setattr(output, "logits", output.logits / 0.5))
    plain = dataclasses.replace(estimator, temperature=1.0)
    expected = plain(model, rollout)
    torch.testing.assert_close(estimator(tiny_model("llama"), rollout), expected, atol=1e-4, rtol=1e-5)


def example(token: int = 12) -> Rollout:
    ids = torch.randint(3, VOCAB, (2, 4 + token), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, token, dtype=torch.bool)
    reasoning = mask.clone()
    reasoning[:, -3:] = False
    return Rollout(ids[:, :4], mask[:, :4], ids[:, 4:], mask, reasoning, torch.zeros(2, dtype=torch.long))


def test_it_is_the_surprise_of_the_rest_behind_the_span_in_closed_form():
    """A bigram: only the first token behind a span depends on it, ``log p(o_e | o_{e-1}) - log p(o_e | o_{a-1})``."""
    model = tiny_llama(VOCAB, attends=False).double()
    rollout = example()
    logits = model(torch.arange(VOCAB)[None]).logits[0].log_softmax(-1)
    text = torch.cat([rollout.prompt_ids[:, -1:], rollout.completion_ids], 1)
    found = LeaveOut(EveryTokens(2), runs=1)(model, rollout)
    for row in range(2):
        for a in range(0, 9, 2):
            e = min(a + 2, 9)
            expected = logits[text[row, e], text[row, e + 1]] - logits[text[row, a], text[row, e + 1]]
            torch.testing.assert_close(found[row, a:e], expected.expand(e - a))


def test_a_span_that_the_model_ignores_has_none():
    model = tiny_llama(VOCAB)
    model.model.embed_tokens.weight.data[:] = model.model.embed_tokens.weight[3].clone()
    found = LeaveOut(EveryTokens(2))(model, example())
    torch.testing.assert_close(found, torch.zeros_like(found), atol=1e-4, rtol=0)


def test_a_run_is_worth_its_last_span_and_the_rest_of_it_alone():
    """``N(a, e) = N'(a, b) + N(b, e)``: ``N'`` in the text without the tokens from ``b`` to ``e - 1``."""
    model, rollout = tiny_model("llama"), example()
    estimator = LeaveOut(EveryTokens(3), window=None)
    runs = estimator.find_runs(rollout)
    values = estimator.measure(model, rollout, runs)
    whole, last = values[:, 1], values[:, 2]
    assert (runs.begins[0, :3].tolist(), runs.ends[0, :3].tolist()) == ([0, 0, 3], [3, 6, 6])
    left = [0, 1, 2, *range(6, 12)]
    fields = {name: getattr(rollout, name)[:, left] for name in ("completion_ids", "completion_mask", "reasoning_mask")}
    without = estimator.measure(model, dataclasses.replace(rollout, **fields), runs)[:, 0]
    torch.testing.assert_close(without + last, whole, atol=1e-4, rtol=0)
    assert not torch.allclose(values[:, 0] + last, whole, atol=0.1)


def test_a_span_at_the_end_of_the_text_has_none():
    rollout = example(6)
    rollout = dataclasses.replace(rollout, reasoning_mask=rollout.completion_mask)
    found = LeaveOut(EveryTokens(3), runs=1)(tiny_model("llama"), rollout)
    assert found[:, :3].abs().min() > 0
    assert not found[:, 3:].any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window": 0}, "window: got 0, want None or an integer of at least 1"),
        ({"runs": 0}, "runs: got 0, want an integer of at least 1"),
        ({"tokens": 0}, "tokens: got 0, want None or an integer of at least 1"),
        ({"chunk": 0}, "chunk: got 0"),
        ({"temperature": 0.0}, "temperature: got 0.0"),
    ],
)
def test_wrong_parameters(wrong, message):
    with pytest.raises(ValueError, match=message):
        LeaveOut(EveryTokens(2), **wrong)


def test_reasoning_that_nothing_cuts_is_told():
    rollout = example().select(torch.zeros(8, dtype=torch.long))
    with pytest.warns(UserWarning, match=r"8 of 8 reasonings are one span each, as EveryTokens .* EveryTokens\(16\)"):
        LeaveOut(EveryTokens(50)).find_runs(rollout)
    LeaveOut(EveryTokens(2)).find_runs(rollout)


def test_boundaries_of_another_shape():
    class Short(Boundaries):
        def __call__(self, rollout):
            return torch.zeros(2, 3, dtype=torch.bool)

    with pytest.raises(ValueError, match=r"Short: want shape \(batch, token \+ 1\) = \(2, 13\), got \(2, 3\)"):
        LeaveOut(Short())(tiny_model("llama"), example())


def test_a_row_without_a_prompt():
    rollout = example()
    mask = rollout.prompt_mask.clone()
    mask[1] = False
    with pytest.raises(ValueError, match="row 1 has no prompt token"):
        LeaveOut(EveryTokens(2))(tiny_model("llama"), dataclasses.replace(rollout, prompt_mask=mask))


def test_little_of_a_forward_is_padding():
    """Rows go together by how much is run behind them, blocks by length: not all as long as the longest of all."""
    sizes, lengths = [], torch.arange(12, 60, 2)[torch.randperm(24)]
    ids = torch.randint(3, VOCAB, (24, 64))
    mask = torch.arange(60) < lengths[:, None]
    rollout = Rollout(
        ids[:, :4], torch.ones(24, 4, dtype=torch.bool), ids[:, 4:], mask, mask, torch.zeros(24, dtype=torch.long)
    )
    original = packing.packed_logits

    def counting(model, config, rollout, block, cache, prefixes):
        sizes.append(prefixes.numel() * len(block))
        return original(model, config, rollout, block, cache, prefixes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "packed_logits", counting)
        LeaveOut(EveryTokens(2), window=None, runs=1, guard=False)(tiny_model("llama"), rollout)
    needed = sum(length - end for length in lengths.tolist() for end in range(2, length + 1, 2))
    assert needed <= sum(sizes) < 1.9 * needed


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.data(), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_runs_against_a_walk(mask, data, longest):
    cuts = data.draw(st.lists(st.booleans(), min_size=len(mask) + 1, max_size=len(mask) + 1))
    runs = runs_of_spans(torch.tensor([mask]), torch.tensor([cuts]), longest)
    spans = spans_of(mask, cuts)
    expected = set()
    for first in range(len(spans)):
        for last in range(first, min(first + longest, len(spans))):
            if all(spans[k][1] == spans[k + 1][0] for k in range(first, last)):
                expected.add((spans[first][0], spans[last][1], last - first + 1))
    found = [*zip(runs.begins[0].tolist(), runs.ends[0].tolist(), runs.spans[0].tolist(), strict=True)]
    assert {run for run in found if run[2]} == expected
    assert all(run == (0, 0, 0) for run in found if not run[2])

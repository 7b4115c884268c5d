"""The tabular language model: its logits are rows of its table, and what needs attention refuses it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo.estimators import EarlyExitEntropy, UnsupportedModelError
from iapo.testing.information import rollout_of
from iapo.testing.tabular import TabularLanguageModel


@given(
    order=st.integers(0, 3),
    ids=st.lists(st.integers(0, 2), min_size=1, max_size=7),
    left=st.integers(0, 3),
    right=st.integers(0, 2),
    keep=st.integers(0, 3),
)
def test_logits_are_the_rows_of_the_last_tokens(order, ids, left, right, keep):
    model = TabularLanguageModel(3, order=order)
    padded = torch.tensor([[2] * left + ids + [1] * right])
    mask = torch.tensor([[0] * left + [1] * len(ids) + [0] * right])
    logits = model(input_ids=padded, attention_mask=mask).logits[0]
    for position in range(len(ids)):
        digits = [token + 1 for token in ids[: position + 1]][max(0, position + 1 - order) :]
        row = sum(digit * 4**place for place, digit in enumerate(reversed(digits)))
        torch.testing.assert_close(logits[left + position], model.table[row], atol=0, rtol=0)
    last = logits[left + len(ids) - 1]
    torch.testing.assert_close(logits[left + len(ids) :], last.expand(right, -1), atol=0, rtol=0)
    kept = model(input_ids=padded, attention_mask=mask, logits_to_keep=keep).logits[0]
    torch.testing.assert_close(kept, logits[-keep:], atol=0, rtol=0)
    index = torch.tensor([0, padded.shape[1] - 1])
    kept = model(input_ids=padded, attention_mask=mask, logits_to_keep=index).logits[0]
    torch.testing.assert_close(kept, logits[index], atol=0, rtol=0)


def test_the_hash_reads_the_whole_history():
    model = TabularLanguageModel(3)
    rows = torch.cartesian_prod(*[torch.arange(3)] * 6)
    last = model(input_ids=rows).logits[:, -1]
    assert len(last.unique(dim=0)) > 0.9 * len(rows)


def test_packed_estimators_refuse_a_table():
    model, rollout = TabularLanguageModel(3), rollout_of([(1, 2, 1)])
    with pytest.raises(UnsupportedModelError, match="TabularLanguageModel"):
        EarlyExitEntropy(postfix_ids=(1,))(model, rollout)
    with pytest.raises(ValueError, match="past_key_values"):
        model(input_ids=rollout.prompt_ids, past_key_values=object())


@pytest.mark.parametrize(
    ("arguments", "name"), [({"vocab_size": 0}, "vocab_size"), ({"order": -1}, "order"), ({"eos_token_id": 3}, "eos")]
)
def test_bad_tables_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        TabularLanguageModel(**({"vocab_size": 3} | arguments))

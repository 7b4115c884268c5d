"""The split of advantages into terms: what each is, and that they are the whole."""

import pytest
import torch
from advantage_batches import batches
from hypothesis import given
from hypothesis import strategies as st

from iapo import AdvantageOutput
from iapo.advantages import SGRPO, GroupRelative, InformationAware


@given(batches(), st.sampled_from([0.0, 0.3]), st.sampled_from([0.0, 2.0]), st.booleans())
def test_terms_are_the_whole_and_each_the_difference_it_makes(batch, alpha, beta, part):
    rewards, ids, mask, signals = batch
    outcome = SGRPO(GroupRelative(), first=2, probability=0.0) if part else GroupRelative()

    def assign(alpha, beta):
        return InformationAware(outcome, alpha=alpha, beta=beta)(rewards, ids, mask, signals)

    output = assign(alpha, beta)
    names = ["outcome"] + ["information"] * (alpha > 0) + ["exploration"] * (beta > 0)
    assert list(output.terms) == names
    total = torch.zeros_like(output.advantages)
    for term in output.terms.values():
        assert not term[~output.loss_mask].any()
        total = total + term
    assert torch.equal(total, output.advantages)
    alone = {"information": assign(alpha, 0.0), "exploration": assign(0.0, beta)}
    plain = assign(0.0, 0.0).advantages
    assert torch.equal(output.terms["outcome"], plain)
    for name in names[1:]:
        torch.testing.assert_close(output.terms[name], alone[name].advantages - plain, atol=1e-5, rtol=1e-5)


def test_other_assigners_do_not_split():
    rewards, ids, mask = torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.ones(2, 3, dtype=torch.bool)
    assert GroupRelative()(rewards, ids, mask).terms is None


def test_a_term_of_another_shape_is_named():
    values, mask = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(TypeError, match="terms"):
        AdvantageOutput(values, mask, {}, {"outcome": torch.zeros(2, 4)})

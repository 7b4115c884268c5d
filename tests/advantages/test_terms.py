"""The split of advantages into terms: what each is, and that they are the whole."""

import pytest
import torch
from advantage_batches import batches
from hypothesis import given
from hypothesis import strategies as st

from iapo import AdvantageOutput
from iapo.advantages import (
    SGRPO,
    Crop,
    Drift,
    EntropyAdvantage,
    FirstCorrectChunk,
    GroupRelative,
    InformationAware,
    KimiLength,
    LengthShaped,
    OfficialCompat,
    OverlongFiltered,
    RecordGain,
    StepPotential,
    TailPenalty,
)

OUTCOMES = [GroupRelative(), SGRPO(GroupRelative(), first=2, probability=0.0)]


@pytest.mark.parametrize("made", [InformationAware, OfficialCompat])
@given(
    batch=batches(),
    alpha=st.sampled_from([0.0, 0.3]),
    beta=st.sampled_from([0.0, 2.0]),
    outcome=st.sampled_from(OUTCOMES),
)
def test_terms_are_the_whole_and_each_the_difference_it_makes(made, batch, alpha, beta, outcome):
    rewards, ids, mask, signals = batch

    def assign(alpha, beta):
        return made(outcome=outcome, alpha=alpha, beta=beta)(rewards, ids, mask, signals)

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


@given(batches(), st.sampled_from([SGRPO, OverlongFiltered, LengthShaped]))
def test_wrappers_pass_the_terms_on(batch, wrapper):
    rewards, ids, mask, signals = batch
    parameters = {
        SGRPO: {"first": 2, "probability": 0.5},
        OverlongFiltered: {"max_length": 3},
        LengthShaped: {"shaping": KimiLength()},
    }[wrapper]

    def wrapped(alpha, beta):
        torch.manual_seed(0)
        return wrapper(InformationAware(alpha=alpha, beta=beta), **parameters)(rewards, ids, mask, signals)

    output, plain = wrapped(0.3, 2.0), wrapped(0.0, 0.0)
    assert list(output.terms) == ["outcome", "information", "exploration"]
    assert torch.equal(output.terms["outcome"], plain.advantages)
    torch.testing.assert_close(sum(output.terms.values()), output.advantages, atol=0, rtol=0)
    information = wrapped(0.3, 0.0).advantages - plain.advantages
    torch.testing.assert_close(output.terms["information"], information, atol=1e-5, rtol=1e-5)
    for term in output.terms.values():
        assert not term[~output.loss_mask].any()


@pytest.mark.parametrize(
    "assigner", [GroupRelative(), SGRPO(GroupRelative(), 1, 0.5), OverlongFiltered(GroupRelative(), 4)]
)
def test_what_has_one_term_is_not_split(assigner):
    rewards, ids, mask = torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.ones(2, 3, dtype=torch.bool)
    assert assigner(rewards, ids, mask).terms is None


def test_a_term_of_another_shape_is_named():
    values, mask = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(TypeError, match="terms"):
        AdvantageOutput(values, mask, {}, {"outcome": torch.zeros(2, 4)})


INNER = InformationAware(alpha=0.3)


@pytest.mark.parametrize(
    ("rule", "added"),
    [
        (Crop(INNER), "closing"),
        (Drift(INNER, step=2), "drift"),
        (EntropyAdvantage(INNER), "entropy"),
        (FirstCorrectChunk(INNER, step=2), "chunks"),
        (RecordGain(INNER, step=2), "record"),
        (StepPotential(INNER, threshold=0.2, step=2), "potential"),
        (TailPenalty(INNER, paid_by="tail"), "tail"),
    ],
)
@given(batches())
def test_rules_keep_the_terms_of_their_outcome(rule, added, batch):
    rewards, ids, mask, signals = batch
    output = rule(rewards, ids, mask, signals)
    assert list(output.terms) == ["outcome", "information", added]
    torch.testing.assert_close(sum(output.terms.values()), output.advantages, atol=1e-5, rtol=1e-5)
    assert not any(term[~output.loss_mask].any() for term in output.terms.values())

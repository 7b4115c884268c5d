"""The checks of the truth fail on estimators that are not it, and pass on those that are."""

from dataclasses import dataclass, replace

import pytest
import torch

from iapo import MIEstimator
from iapo.estimators import ExactInformation
from iapo.testing import InformationContract, check_information

pytestmark = pytest.mark.usefixtures("first_failure")


@dataclass(frozen=True)
class Broken(MIEstimator):
    """Exact probes with a mistake made in them."""

    exact: ExactInformation
    mistake: str

    @property
    def information_sign(self):
        return self.exact.information_sign

    def probe(self, model, rollout):
        estimator = self.exact
        if self.mistake == "forgets that completions are cut":
            estimator = replace(estimator, max_new_tokens=estimator.max_new_tokens + 1)
        values = estimator.probe(model, rollout)
        after, before = torch.nn.functional.pad(values, (0, 1))[:, 1:], torch.nn.functional.pad(values, (1, 0))[:, :-1]
        if self.mistake == "sign":
            return -values
        if self.mistake == "averages neighbors":
            return (values + before) / 2
        if self.mistake == "one late":
            return before
        if self.mistake == "one early":
            return after
        if self.mistake == "bits":
            return values / torch.log(torch.tensor(2.0, dtype=torch.float64))
        if self.mistake == "noise":
            return values + 1e-4 * torch.rand(values.shape, dtype=values.dtype)
        if self.mistake == "falls by itself":
            return values - torch.arange(values.shape[1])
        return values


def failing(make) -> set[str]:
    found = set()
    for check in InformationContract(examples=10).checks():
        try:
            check(make)
        except AssertionError:
            found.add(check.name)
    return found


@pytest.mark.parametrize(
    ("mistake", "caught"),
    [
        ("none", set()),
        ("sign", {"expectation", "non_negative", "chain_rule", "data_processing"}),
        ("averages neighbors", {"expectation", "chain_rule", "ignored_tokens"}),
        ("one late", {"expectation", "chain_rule", "non_negative", "ignored_tokens"}),
        ("one early", {"expectation", "chain_rule", "ignored_tokens"}),
        ("bits", {"expectation", "chain_rule"}),
        ("noise", {"expectation", "chain_rule", "ignored_tokens"}),
        ("falls by itself", {"expectation", "chain_rule", "ignored_tokens"}),
        ("forgets that completions are cut", {"expectation"}),
    ],
)
def test_each_mistake_is_caught(mistake, caught):
    found = failing(lambda *arguments: Broken(ExactInformation(*arguments), mistake))
    assert caught <= found
    assert bool(found) == bool(caught)


@pytest.mark.parametrize("measure", ["entropy", "likelihood"])
def test_the_exact_estimator_passes(measure):
    applied = check_information(lambda *arguments: ExactInformation(*arguments, measure=measure), examples=25)
    assert all(applied.values())


def test_the_message_names_property_prefix_and_difference():
    with pytest.raises(AssertionError, match=r"halved: expectation: E\[s\] = .*, want .*, after \(.*answer: "):
        check_information(halved)


def halved(*arguments):
    return Broken(ExactInformation(*arguments), "bits")

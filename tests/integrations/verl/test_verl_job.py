"""A job of verl on a CPU, with Ray, a rollout and an FSDP2 actor: it trains on what the reference loop makes."""

import dataclasses

import pytest
import torch
from verl_jobs import run_job

from iapo import Sampler
from iapo.advantages import GFPO, GroupRelative, InformationAware
from iapo.embedded import model_path
from iapo.estimators import AnswerLikelihood
from iapo.losses import ClippedPolicyLoss
from iapo.optimizers import ClippedOptimizer
from iapo.policy.loading import load_model
from iapo.rollout import collate
from iapo.training import Components, UpdateSettings, prepare

pytestmark = pytest.mark.filterwarnings("ignore")
GROUP = 4


class Recorded(Sampler):
    """Completions that somebody else sampled."""

    temperature = 1.0

    def __init__(self, rollout):
        self.rollout = rollout

    def sample(self, prompts, group_size):
        return self.rollout


class Batch:
    """A batch that verl's actor trained on, its groups together, and what the reference loop makes of it."""

    def __init__(self, path, assigner):
        given = torch.load(path, weights_only=False)
        uids = list(dict.fromkeys(given["uid"]))
        self.order = sorted(range(len(given["uid"])), key=lambda row: uids.index(given["uid"][row]))
        self.given, self.metrics, self.assigner = given, given["metrics"], assigner
        model, tokenizer = load_model(str(model_path()), torch.device("cpu"))
        tokens = {name: [given[name][row].tolist() for row in self.order] for name in ("prompts", "responses")}
        groups = [uids.index(given["uid"][row]) for row in self.order]
        rollout = collate(tokens["prompts"], tokens["responses"], groups, 0, tokenizer)
        scores = [float(given["rm_scores"][row].sum()) for row in self.order]
        components = Components(
            Recorded(rollout),
            {"score": lambda **_: scores},
            AnswerLikelihood.from_text(tokenizer),
            assigner,
            ClippedPolicyLoss(),
            ClippedOptimizer(torch.optim.SGD(model.parameters(), lr=0.1)),
        )
        problems = [{"prompt": tokenizer.decode(tokens["prompts"][row])} for row in range(0, len(groups), GROUP)]
        self.loop = prepare(problems, model, tokenizer, components, UpdateSettings(GROUP, 8))

    def of_verl(self, name):
        """A field of verl's, padded."""
        rows = [self.given[name][row].float() for row in self.order]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    done = run_job(
        folder, "+iapo.signal=answer_likelihood", "+iapo.correct_reward=right", "+iapo.estimate_batch_size=3"
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return folder


def test_information_and_advantages_are_the_reference_loops(job):
    batch = Batch(job / "1.pt", InformationAware(GroupRelative(eps=1e-6)))
    assert batch.loop.signals.information.any()
    torch.testing.assert_close(batch.of_verl("iapo_information"), batch.loop.signals.information, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(batch.of_verl("advantages"), batch.loop.assigned.advantages, atol=5e-6, rtol=1e-5)
    signals = dataclasses.replace(batch.loop.signals, information=batch.of_verl("iapo_information"))
    rollout = batch.loop.rollout
    exact = batch.assigner(batch.loop.rewards, rollout.group_ids, rollout.completion_mask, signals)
    torch.testing.assert_close(batch.of_verl("advantages"), exact.advantages, atol=1e-6, rtol=1e-6)
    probed = batch.loop.probed
    assert probed.any()
    assert batch.metrics["iapo/completions/probed"] == probed.sum()


def test_three_updates_move_the_weights_that_are_probed(job):
    first, *later = (torch.load(job / f"{step}.pt", weights_only=False) for step in (1, 2, 3))
    assert all(any(row.any() for row in batch["iapo_information"]) for batch in (first, *later))
    last = Batch(job / "3.pt", InformationAware(GroupRelative(eps=1e-6)))
    difference = (last.of_verl("iapo_information") - last.loop.signals.information).abs().max()
    assert difference > 1e-4, "the loop's weights are those before the first update"


def test_what_an_assigner_takes_out_leaves_verls_loss(tmp_path):
    assigner = (
        "{class_path: iapo.advantages.InformationAware, init_args: {outcome: "
        "{class_path: iapo.advantages.GFPO, init_args: {keep: 2}}}}"
    )
    estimator = "{class_path: iapo.estimators.AnswerLikelihood}"
    done = run_job(
        tmp_path,
        f"+iapo.assigner={assigner}",
        f"+iapo.estimator={estimator}",
        mode="iapo_colocate_async",
        steps=1,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    batch = Batch(tmp_path / "1.pt", InformationAware(GFPO(keep=2)))
    expected = batch.loop.assigned.loss_mask
    for name in ("response_mask", "loss_mask"):
        assert torch.equal(batch.of_verl(name).bool(), expected), name
    assert expected.any(1).sum() == 2 * len(expected) / GROUP
    torch.testing.assert_close(batch.of_verl("advantages"), batch.loop.assigned.advantages, atol=1e-6, rtol=1e-6)

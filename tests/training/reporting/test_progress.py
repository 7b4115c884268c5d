"""What a command tells of its progress, and that tokens are counted as they are sampled."""

import threading

import torch

from iapo.embedded import model_path
from iapo.policy.loading import load_model
from iapo.rollout import CompactingSampler, TransformersSampler
from iapo.training.reporting.counting import Sampling, watched
from iapo.training.reporting.progress import CommandProgress


def test_tokens_are_counted_and_nothing_is_changed(embedded_tokenizer):
    model, tokenizer = load_model(str(model_path()))
    sampler = TransformersSampler(model, tokenizer, max_new_tokens=12)
    sampling = Sampling(completions=8, longest=12)
    torch.manual_seed(1)
    with watched(model, sampling):
        seen = sampler(["3+8=", "1+1="], 4)
    torch.manual_seed(1)
    assert torch.equal(seen.completion_ids, sampler(["3+8=", "1+1="], 4).completion_ids)
    assert sampling.started == 8
    assert sampling.tokens == 8 * 12
    assert sampling.left() == 0
    assert not model.get_input_embeddings()._forward_hooks


def test_what_is_left_shrinks_as_completions_end():
    model, tokenizer = load_model("embedded")
    sampling, left = Sampling(completions=32, longest=30), []
    see = sampling.see

    def noted(rows: int, width: int) -> None:
        see(rows, width)
        left.append(sampling.left())

    sampling.see = noted
    with watched(model, sampling):
        CompactingSampler(model, tokenizer, max_new_tokens=30, max_batch=4)(["3+8=", "1+1="], 16)
    known = [each for each in left if each is not None]
    assert max(known) == known[0] == 32 * 30 - 4 * 2
    assert known[-1] <= 4 * 2


def test_what_is_over_at_once_is_not_told_and_what_lasts_is(capsys, monkeypatch):
    with CommandProgress("iapo train") as progress, progress.phase("loading a model"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("iapo.training.reporting.progress._ANNOUNCED_AFTER", 0.0)
    with CommandProgress("iapo train") as progress, progress.phase("loading a model"):
        progress._thread.join(0.7)
    captured = capsys.readouterr()
    assert captured.err == "iapo train: loading a model\n"
    assert captured.out == ""


def test_the_innermost_phase_is_told_and_then_the_outer_one_again(capsys, monkeypatch):
    monkeypatch.setattr("iapo.training.reporting.progress._ANNOUNCED_AFTER", 0.0)
    monkeypatch.setattr("iapo.training.reporting.progress._FIRST_PAUSE", 0.0)
    with CommandProgress("iapo train") as progress, progress.phase("setting up"):
        with progress.phase("sampling"):
            progress._thread.join(0.7)
        told = capsys.readouterr().err.splitlines()
        assert set(told[1:]) == {"iapo train: sampling"}, "the first may be of the moment before"
        progress._thread.join(0.7)
    assert set(capsys.readouterr().err.splitlines()) == {"iapo train: setting up"}


def test_a_phase_that_ends_while_it_is_told_ends_nothing(capsys, monkeypatch):
    monkeypatch.setattr("iapo.training.reporting.progress._ANNOUNCED_AFTER", 0.0)
    with CommandProgress("iapo train") as progress:

        class EndsBehind:
            """The lock, behind which the phase is over as soon as the thread has let go of it."""

            def __init__(self):
                self.lock = progress._lock

            def __enter__(self):
                self.lock.acquire()

            def __exit__(self, *error):
                if threading.current_thread() is progress._thread:
                    progress._line = None
                self.lock.release()

        progress._lock = EndsBehind()
        with progress.phase("loading a model"):
            progress._thread.join(0.7)
        assert progress._thread.is_alive()
    assert capsys.readouterr().err == "iapo train: loading a model\n"

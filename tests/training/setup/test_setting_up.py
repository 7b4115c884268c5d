"""A run set up: what is random begins at its seed, and a checkpoint is read once."""

import copy
import dataclasses
import functools
import random
import shutil
import warnings

import numpy
import pytest
import torch
from saved_runs import save

from iapo.cli import main
from iapo.policy import load_model
from iapo.training.checkpoints import folder
from iapo.training.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from iapo.training.configuration.policy_source import PolicySource
from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.configuration.run_config import RunConfig
from iapo.training.configuration.settings import RunSettings
from iapo.training.setup import setting_up

SMALL = (
    "--prompts_per_step 2 --group_size 2 --limit 16 --eval_problems 2 --eval_samples 1 --diagnose 0 "
    "--sampler.max_new_tokens 4 --answer_style AnswerTags --assigner GroupRelative"
)


class ReachedError(Exception):
    """The policy was to be loaded."""


@pytest.fixture
def up_to_the_policy(monkeypatch):
    """Sets a run up until its policy is to be loaded; returns a number of each global random generator."""

    def reached(*arguments):
        raise ReachedError

    monkeypatch.setattr(setting_up, "_load", reached)

    def up_to_the_policy(settings: RunSettings) -> tuple[float, float, float]:
        with pytest.raises(ReachedError):
            setting_up.set_up(RunConfig(PolicySource(device="cpu"), ProblemSource(), settings, None, {}), None)
        return random.random(), float(numpy.random.rand()), float(torch.rand(()))

    return up_to_the_policy


def test_every_generator_begins_at_the_seed(up_to_the_policy, tmp_path):
    first, again, other = (up_to_the_policy(RunSettings(output=str(tmp_path), seed=seed)) for seed in (3, 3, 4))
    assert first == again
    assert not set(first) & set(other)


def test_a_checkpoint_is_read_once_and_a_damaged_one_told_once(up_to_the_policy, tmp_path, monkeypatch):
    for step in (1, 2):
        save(tmp_path, step)
    (tmp_path / "checkpoint-2" / "state.json").write_text("{")
    read, digest = [], folder.file_digest
    monkeypatch.setattr(folder, "file_digest", lambda path: read.append(path) or digest(path))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        up_to_the_policy(RunSettings(output=str(tmp_path), resume=True, override=True))
    assert [str(each.message).partition(":")[2] for each in told if "checkpoint" in str(each.message)] == [
        " is damaged, its content is not what was written (SHA-256); taking checkpoint-1 instead"
    ]
    assert len(read) == len(set(read))


def test_too_many_prompts_are_refused_before_the_policy_is_loaded(monkeypatch, tmp_path, capsys):
    def load(*arguments):
        raise ReachedError

    monkeypatch.setattr(setting_up, "_load", load)
    numbers = ("--limit", "24", "--eval_problems", "8", "--prompts_per_step", "17")
    assert main(["train", "--output", str(tmp_path / "run"), *numbers]) == 1
    assert "prompts_per_step: got 17, want 1 to the number of problems, 16" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["tokens_sampled", "optimizer", "steps", "skipped", "scheduler"])
def test_a_counter_that_a_checkpoint_lacks_is_named(tmp_path, capsys, missing):
    run = tmp_path / "run"
    assert main(["train", "--output", str(run), "--steps", "2", *SMALL.split()]) == 0
    saved = load_checkpoint(run)
    counters = {**saved.state.counters, "optimizer": dict(saved.state.counters["optimizer"])}
    del (counters if missing in counters else counters["optimizer"])[missing]
    shutil.rmtree(saved.path)
    model, tokenizer = load_model("embedded")
    save_checkpoint(run, saved.step, dataclasses.replace(saved.state, counters=counters), model, tokenizer, keep=1)
    assert main(["train", "--output", str(run), "--resume", "--steps", "3", *SMALL.split()]) == 1
    assert f"checkpoint-2: its counters lack '{missing}'" in capsys.readouterr().err


def test_a_number_that_a_checkpoint_has_as_null_is_named(tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "--output", str(run), "--steps", "1", *SMALL.split()]) == 0
    saved = load_checkpoint(run)
    model, tokenizer = load_model("embedded")
    for place in (
        "optimizer.param_groups.0.lr",
        "optimizer.param_groups.0.initial_lr",
        "optimizer.param_groups.0.betas.1",
        "counters.tokens_sampled",
        "counters.optimizer.steps",
        "counters.optimizer.scheduler.base_lrs.0",
    ):
        state = copy.deepcopy({name: getattr(saved.state, name) for name in ("optimizer", "counters")})
        *owners, name = [int(part) if part.isdecimal() else part for part in place.split(".")]
        owner = functools.reduce(lambda tree, part: tree[part], owners, state)
        if isinstance(owner, tuple):
            state["optimizer"]["param_groups"][0]["betas"] = (owner[0], None)
        else:
            owner[name] = None
        shutil.rmtree(saved.path)
        save_checkpoint(run, saved.step, dataclasses.replace(saved.state, **state), model, tokenizer, keep=1)
        assert main(["train", "--output", str(run), "--resume", "--steps", "2", *SMALL.split()]) == 1
        assert f"checkpoint-1: {place} is None, want a number" in capsys.readouterr().err

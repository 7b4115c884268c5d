"""Trainers of the embedded model, small, on a CPU and always the same."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from iapo.embedded import generate_problems, model_path, rows
from iapo.rewards import ExactAnswer

pytest.importorskip("trl.trainer.grpo_trainer", reason="TRL is not installed", exc_type=ImportError)
import trl

datasets = pytest.importorskip("datasets", reason="datasets is not installed")

from iapo.integrations.trl import IAPOConfig, IAPOTrainer, InformationOptions  # noqa: E402

TOKENIZER = AutoTokenizer.from_pretrained(model_path())
GROUP = 4
PROBLEMS = sorted(rows(generate_problems(64, seed=5)), key=lambda row: row["difficulty"])[:8]
"""Easy ones, which are often solved in a few tokens."""


def correct(completions, answer, **_):
    """1 for the reference answer."""
    return ExactAnswer()([""] * len(completions), completions, [[]] * len(completions), answer=answer)


def short(completion_ids, **_):
    """More for fewer tokens."""
    return [-len(ids) / 40 for ids in completion_ids]


def embedded_model(dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(model_path(), dtype=dtype)


def config_of(folder, kind=IAPOConfig, **settings):
    """Two prompts with four completions each in a step; information about the answer, unless another is said."""
    settings = {
        "num_generations": GROUP,
        "per_device_train_batch_size": 2 * GROUP,
        "max_completion_length": 32,
        "learning_rate": 1e-4,
        "max_steps": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "disable_tqdm": True,
    } | settings
    if issubclass(kind, InformationOptions):
        settings = {"signal": "answer_likelihood"} | settings
    return kind(str(folder), **settings)


def trainer_of(
    folder,
    kind=IAPOTrainer,
    rewards=correct,
    model=None,
    data=None,
    eval_data=None,
    parts=None,
    tokenizer=TOKENIZER,
    **settings,
):
    """A trainer; ``parts`` are arguments of its constructor, ``settings`` those of its configuration."""
    config = IAPOConfig if issubclass(kind, IAPOTrainer) else trl.GRPOConfig
    return kind(
        embedded_model() if model is None else model,
        rewards,
        config_of(folder, config, **settings),
        train_dataset=datasets.Dataset.from_list(PROBLEMS if data is None else data),
        eval_dataset=None if eval_data is None else datasets.Dataset.from_list(eval_data),
        processing_class=tokenizer,
        **(parts or {}),
    )


def weights_of(trainer):
    """All weights as one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def sampled(trainer, problems=PROBLEMS[:2]):
    """What the trainer's loss gets for completions of these problems, sampled by the weights as they are."""
    trainer.model.train()
    inputs = [dict(row) for row in problems for _ in range(GROUP)]
    torch.manual_seed(3)
    return trainer._generate_and_score_completions(inputs)

"""Small runs with checkpoints: a tiny policy, its optimizer, and steps that use three random generators."""

import math
import random
from pathlib import Path

import numpy
import torch
from models import tiny_model
from torch import nn
from transformers import AutoTokenizer

from iapo.embedded import model_path
from iapo.training.checkpoints.checkpoint import TrainingState, save_checkpoint

CONFIG = {"seed": 1, "loss": {"clip": 0.2}, "ks": [1, 8]}


def policy(seed: int = 0) -> nn.Module:
    return tiny_model("llama", seed=seed, layers=1, tie_word_embeddings=True)


def tokenizer() -> object:
    return AutoTokenizer.from_pretrained(model_path())


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    groups = [{"params": [p for p in model.parameters() if p.ndim > 1]}]
    groups.append({"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    """Steps whose data come from three random generators; the losses."""
    losses = []
    for _ in range(steps):
        length = random.randint(3, 6) + int(numpy.random.randint(3))
        ids = torch.randint(3, 31, (2, length))
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def state_of(optimizer: torch.optim.Optimizer, step: int = 1) -> TrainingState:
    return TrainingState(optimizer.state_dict(), {"epoch": 0, "taken": step}, CONFIG, {"skipped": 3, "best": math.inf})


def save(run: Path, step: int, keep: int = 10) -> Path:
    """A checkpoint whose content depends on its step."""
    model = policy(step)
    optimizer = optimizer_of(model)
    train(model, optimizer, 1)
    return save_checkpoint(run, step, state_of(optimizer, step), model, tokenizer(), keep)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

"""Keeps what verl's actor trains on, for tests: each batch in a file of the folder that ``IAPO_DUMP`` names."""

import os

import torch
import transfer_queue
from verl.trainer.ppo.v1 import PPOTrainer

FIELDS = (
    "prompts",
    "responses",
    "response_mask",
    "loss_mask",
    "rm_scores",
    "uid",
    "reward_model",
    "advantages",
    "old_log_probs",
    "iapo_information",
)


def _dumping(update_actor):
    def dumped(self, batch, metrics):
        data = transfer_queue.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=[*FIELDS])
        rows = {name: list(data[name]) if name in ("uid", "reward_model") else data[name].unbind() for name in FIELDS}
        rows["metrics"] = {name: value for name, value in metrics.items() if name.startswith("iapo/")}
        torch.save(rows, os.path.join(os.environ["IAPO_DUMP"], f"{self.global_steps}.pt"))
        return update_actor(self, batch, metrics)

    return dumped


PPOTrainer._update_actor = _dumping(PPOTrainer._update_actor)

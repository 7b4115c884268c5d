"""verl's v1 trainers with information-aware advantages, and the names by which verl finds them."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import ray
import torch
import transfer_queue
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.trainer.ppo.core_algos import register_adv_est
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1 import (
    PPOTrainer,
    PPOTrainerColocateAsync,
    PPOTrainerSeparateAsync,
    PPOTrainerSync,
    register_trainer,
)

from iapo.integrations.verl.refusals import (
    refuse_assigner,
    refuse_config,
    refuse_mode,
    refuse_processor,
    refuse_split_sessions,
)
from iapo.integrations.verl.section import read_section
from iapo.integrations.verl.worker import DetachedInformationWorker, InformationWorker

_Trainer: Any = object
"""What stands behind the mixin: a v1 trainer of verl."""


class InformationMixin(_Trainer):
    """Gives a v1 trainer of verl token advantages. It stands first among the bases::

        @register_trainer("iapo_mine")
        class MyIAPOTrainer(InformationMixin, MyTrainer): ...

    verl computes the outcome's advantages, by its estimator ``iapo.outcome``. Then the workers of the actor measure
    the information and add to them, over all workers; advantages and a smaller loss mask go back to TransferQueue.

    Args:
        config: verl's, with ``algorithm.adv_estimator=iapo``, a ``trainer_mode`` that begins with ``iapo_``, and a
            section ``iapo``, which may be empty.

    Raises:
        ValueError: what `iapo.integrations.verl.refusals` says.
    """

    information_worker: type = InformationWorker
    """Takes the place of the actor's worker."""

    def __init__(self, config: Any) -> None:
        refuse_config(config)
        # verl asks this name what it is, and reads settings under it.
        config.trainer.v1.trainer_mode = config.trainer.v1.trainer_mode.removeprefix("iapo_")
        self._given = OmegaConf.to_container(OmegaConf.create(config.get("iapo", None) or {}), resolve=True)
        rollout = config.actor_rollout_ref.rollout
        self._section = read_section(self._given, rollout.temperature)
        config.algorithm.adv_estimator = self._section.options.outcome
        super().__init__(config)

    def _init_tokenizer(self) -> None:
        super()._init_tokenizer()
        refuse_processor(self.processor)
        rollout = self.config.actor_rollout_ref.rollout
        self._said = {
            "section": self._given,
            "temperature": rollout.temperature,
            "micro_batch": rollout.get("log_prob_micro_batch_size_per_gpu", None) or 8,
            "max_new_tokens": rollout.response_length,
        }
        token_advantages = self._section.token_advantages(
            self.tokenizer, self._said["micro_batch"], (), rollout.response_length
        )
        refuse_assigner(self.config, self._section, token_advantages)
        self._requires = token_advantages.assigner.requires

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        for role in (Role.Actor, Role.ActorRollout, Role.ActorRolloutRef):
            if role in self.role_worker_mapping:
                self.role_worker_mapping[role] = ray.remote(self.information_worker)

    def _compute_advantage(self, batch: Any, metrics: dict) -> Any:
        batch = super()._compute_advantage(batch, metrics)
        where = {"keys": batch.keys, "partition_id": batch.partition_id}
        found, given = self._credit(batch, where)
        filling = sum(bool(tag.get("is_padding", False)) for tag in batch.tags)
        for name in ("iapo/completions/unscored", "iapo/completions/without_answer"):
            if name in given:
                given[name] -= filling
        metrics.update(given)
        fields = {"advantages": found["iapo_advantages"], "returns": found["iapo_advantages"]}
        if not torch.equal(found["iapo_loss_mask"].values().bool(), found["response_mask"].values().bool()):
            fields |= {"response_mask": found["iapo_loss_mask"], "loss_mask": found["iapo_loss_mask"]}
        return transfer_queue.kv_batch_put(**where, fields=TensorDict(fields, batch_size=len(batch)))

    def _credit(self, batch: Any, where: dict[str, Any]) -> tuple[TensorDict, dict[str, float]]:
        """What the workers found of a batch, and its metrics."""
        wanted = ["uid", "response_mask", "rm_scores"]
        judge = self._section.options.correct_reward
        data = transfer_queue.kv_batch_get(
            **where, select_fields=wanted if judge is None else [*wanted, "extra_fields"]
        )
        counts = data["response_mask"].to_padded_tensor(0).bool().any(1)
        uids = [str(uid) for uid in data["uid"]]
        refuse_split_sessions([key for key, real in zip(batch.keys, counts.tolist(), strict=True) if real])
        rewards = data["rm_scores"].to_padded_tensor(0.0).sum(1)
        if judge is not None:
            rewards = torch.tensor([_number(judge, each) for each in data["extra_fields"]], dtype=torch.float32)
        groups = torch.from_numpy(np.unique(uids, return_inverse=True)[1])
        meta = transfer_queue.kv_batch_put(
            **where, fields=TensorDict({"iapo_reward": rewards, "iapo_group": groups}, batch_size=len(batch))
        )
        known = self._known()
        # A worker sees the fields that the metadata names, and no later ones.
        meta.fields = ["prompts", "responses", "response_mask", "advantages", "iapo_reward", "iapo_group"]
        meta.fields += [*known.values(), *(["reward_model"] if self._section.options.answer == "reference" else [])]
        progress = min(1.0, (self.global_steps - 1) / max(1, self.total_training_steps))
        meta.extra_info["iapo"] = self._said | {"progress": progress, "known": known}
        meta = self.actor_rollout_wg.compute_token_advantages(meta)
        found = transfer_queue.kv_batch_get(
            **where, select_fields=["response_mask", "iapo_advantages", "iapo_loss_mask", "iapo_information"]
        )
        given = meta.extra_info["iapo_metrics"]
        # One of each worker, all alike.
        return found, dict(given if isinstance(given, Mapping) else given[0])

    def _known(self) -> dict[str, str]:
        """The signals that verl has measured, and its names of them."""
        correction = self.config.algorithm.get("rollout_correction", None) or {}
        if correction.get("bypass_mode", False):
            return {}
        names = {"policy_logprobs": "old_log_probs", "policy_entropy": "entropy"}
        return {name: field for name, field in names.items() if name in self._requires}


def _number(judge: str, fields: Any) -> float:
    """The number that says whether a completion is right."""
    found = (fields or {}).get("reward_extra_info") or {}
    if judge not in found:
        raise ValueError(
            f"iapo.correct_reward: got {judge!r}, the reward function returns {sorted(found) or 'a score alone'}; let "
            "it return a dictionary with this key"
        )
    try:
        return float(found[judge])
    except (TypeError, ValueError):
        raise ValueError(
            f"iapo.correct_reward: the reward function returned {judge}={found[judge]!r}, want a number"
        ) from None


@register_trainer("iapo_sync")
class IAPOTrainerSync(InformationMixin, PPOTrainerSync):
    """`PPOTrainerSync` with token advantages."""


@register_trainer("iapo_colocate_async")
class IAPOTrainerColocateAsync(InformationMixin, PPOTrainerColocateAsync):
    """`PPOTrainerColocateAsync` with token advantages."""


@register_trainer("iapo_separate_async")
class IAPOTrainerSeparateAsync(InformationMixin, PPOTrainerSeparateAsync):
    """`PPOTrainerSeparateAsync` with token advantages."""

    information_worker = DetachedInformationWorker


@register_adv_est("iapo")
def without_information(config: Any = None, **_: Any) -> Any:
    """Raise: verl calls this in a trainer that measures no information."""
    raise ValueError(
        "algorithm.adv_estimator: got iapo in a trainer that measures no information; want trainer.use_v1=True and "
        "trainer.v1.trainer_mode=iapo_sync, iapo_colocate_async or iapo_separate_async"
    )


def _refusing(init: Any) -> Any:
    @functools.wraps(init)
    def checked(self: Any, config: Any) -> None:
        refuse_mode(config)
        init(self, config)

    return checked


# `without_information` is called after the first completions have been sampled; this says it before anything starts.
PPOTrainer.__init__ = _refusing(PPOTrainer.__init__)

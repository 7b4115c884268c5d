"""verl's worker of the actor, which can also be asked for token advantages."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from tensordict import TensorDict
from tensordict.tensorclass import NonTensorData
from torch import Tensor, nn
from verl.experimental.separation.engine_workers import DetachActorWorker
from verl.single_controller.base.decorator import make_nd_compute_dataproto_dispatch_fn, register
from verl.utils import tensordict_utils
from verl.utils.profiler import DistProfiler
from verl.workers.engine_workers import ActorRolloutRefWorker

from iapo.integrations.core import Credited, TokenAdvantages
from iapo.integrations.distributed import Distributed
from iapo.integrations.verl.section import read_section
from iapo.ops.padding import pad_rows

_Worker: Any = object
"""What stands behind the mixin: a worker of verl."""


class CreditWorker(_Worker):
    """Gives a worker of verl the method `compute_token_advantages`."""

    @register(dispatch_mode=make_nd_compute_dataproto_dispatch_fn(mesh_name="actor"))
    @DistProfiler.annotate(color="green", role="actor_compute_token_advantages")
    def compute_token_advantages(self, data: TensorDict) -> TensorDict:
        """Advantages, loss mask and information (nats) of the response tokens of this worker's rows.

        All workers of the actor call it together. A row without tokens in the loss is in no statistic: verl fills
        batches up with such.

        Args:
            data: nested ``prompts``, ``responses``, ``response_mask`` and ``advantages``, of each row a verdict
                ``iapo_reward`` and the number of its group ``iapo_group``; not nested ``iapo``, which says the rest.
        """
        said = tensordict_utils.get_non_tensor_data(data, "iapo", {})
        engine = self.actor.engine
        with engine.eval_mode():
            device = next(engine.module.parameters()).device
            with _autocast(engine, device):
                credited = _credit(engine.module, self._token_advantages(said), data, said, device)
        lengths = data["responses"].offsets().diff().tolist()
        information = credited.information
        if information is None:
            information = torch.zeros_like(credited.advantages)
        fields: dict[str, Any] = {
            "iapo_advantages": _nested(credited.advantages.float(), lengths),
            "iapo_loss_mask": _nested(credited.loss_mask.long(), lengths),
            "iapo_information": _nested(information.float(), lengths),
            "iapo_metrics": NonTensorData(credited.metrics, batch_size=[len(lengths)]),
        }
        return TensorDict(fields, batch_size=len(lengths))

    def _token_advantages(self, said: dict[str, Any]) -> TokenAdvantages:
        """What the section says; the same object each time, which remembers the models that it has checked."""
        if not hasattr(self, "_iapo"):
            model = self.actor.model_config
            ends = getattr(model.generation_config, "eos_token_id", None)
            ends = {model.tokenizer.eos_token_id, *(ends if isinstance(ends, list | tuple) else [ends])} - {None}
            self._iapo = read_section(said["section"], said["temperature"]).token_advantages(
                model.tokenizer, said["micro_batch"], ends, said["max_new_tokens"]
            )
        return self._iapo


class InformationWorker(CreditWorker, ActorRolloutRefWorker):
    """The worker of trainers whose workers sample too, or none do."""


class DetachedInformationWorker(CreditWorker, DetachActorWorker):
    """The worker of the trainer whose rollout is elsewhere."""


def _credit(
    model: nn.Module, token_advantages: TokenAdvantages, data: TensorDict, said: dict[str, Any], device: torch.device
) -> Credited:
    """The token advantages of the rows of this worker, padded."""
    pad_id = token_advantages.tokenizer.pad_token_id or 0
    prompts = pad_rows([row.tolist() for row in data["prompts"].unbind()], pad_id, left=True)
    responses = pad_rows([row.tolist() for row in data["responses"].unbind()], pad_id)
    prompt_ids, prompt_mask, response_ids, response_mask = (each.to(device) for each in (*prompts, *responses))
    width = response_ids.shape[1]
    written = _padded(data["response_mask"], width).bool().to(device)
    references = None
    if said["section"].get("answer") == "reference":
        references = [each["ground_truth"] for each in tensordict_utils.get(data, "reward_model")]
    rollout = token_advantages.read(
        prompt_ids, prompt_mask, response_ids, response_mask, data["iapo_group"].to(device), written, references
    )
    known = {name: _padded(data[field], width).to(device) for name, field in said["known"].items()}
    return token_advantages(
        model,
        rollout,
        data["iapo_reward"].to(device).masked_fill(~written.any(1), torch.nan),
        _padded(data["advantages"], width).to(device),
        written,
        known=known,
        progress=said["progress"],
        ranks=Distributed(),
    )


def _autocast(engine: Any, device: torch.device) -> AbstractContextManager[Any]:
    """The precision of the engine's forwards."""
    dtype = engine._autocast_dtype
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def _padded(values: Tensor, width: int) -> Tensor:
    """Nested rows as a matrix of this width."""
    padded = values.to_padded_tensor(0)
    return nn.functional.pad(padded, (0, width - padded.shape[1]))


def _nested(values: Tensor, lengths: list[int]) -> Tensor:
    """The rows of a matrix, cut to their lengths, as verl holds them."""
    rows = [row[:length] for row, length in zip(values.cpu(), lengths, strict=True)]
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)

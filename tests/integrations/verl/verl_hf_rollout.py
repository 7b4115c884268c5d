"""A rollout server for verl that samples with transformers on a CPU, for tests.

It is not in `verl_cpu`: a worker that unpickles `HFServer` imports this module, then verl, then `verl_cpu`, which must
be whole before anything asks for the platform.
"""

import asyncio

import ray
import torch
from verl.workers.rollout import base
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput


class HFServer:
    """One model in an actor, which answers one request at a time."""

    def __init__(self, config, model_config, seed):
        from transformers import AutoModelForCausalLM

        from iapo.policy.forward import cache_argument

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.config = config
        self.model = AutoModelForCausalLM.from_pretrained(model_config.path, dtype=torch.float32).eval()
        self.cache = cache_argument(self.model)
        self.eos = self.model.generation_config.eos_token_id
        self.steps = 0

    async def generate(self, request_id, prompt_ids, sampling_params, **_):
        await asyncio.sleep(0)
        temperature = float(sampling_params.get("temperature", 1.0))
        ids, logprobs, cache, fed = [], [], None, torch.tensor([list(prompt_ids)])
        with torch.no_grad():
            while len(ids) < self.config.response_length:
                out = self.model(input_ids=fed, **{self.cache: cache}, use_cache=True)
                cache = getattr(out, self.cache)
                distribution = (out.logits[0, -1].float() / temperature).log_softmax(-1)
                token = int(torch.multinomial(distribution.exp(), 1))
                ids.append(token)
                logprobs.append(float(distribution[token]))
                if token == self.eos:
                    break
                fed = torch.tensor([[token]])
        return TokenOutput(
            token_ids=ids,
            log_probs=logprobs,
            stop_reason="completed",
            num_preempted=0,
            extra_fields={"global_steps": self.steps},
        )

    async def load(self, weights, steps):
        state = self.model.state_dict()
        with torch.no_grad():
            for name, value in weights.items():
                state[name].copy_(value)
        self.steps = steps or 0

    async def nothing(self, *_, **__):
        return None

    wake_up = sleep = abort_all_requests = resume_generation = clear_kv_cache = nothing
    release_kv_cache = resume_kv_cache = start_profile = stop_profile = nothing


def _server_name(rank):
    return f"hf_server_{ray.get_runtime_context().get_job_id()}_{rank}"


class HFReplica(RolloutReplica):
    async def launch_servers(self):
        options = {"name": _server_name(self.replica_rank), "num_cpus": 0, "max_concurrency": 64}
        server = ray.remote(HFServer).options(**options)
        self._server_handle = server.remote(self.config, self.model_config, self.config.seed + self.replica_rank)
        self.servers = [self._server_handle]
        self._server_address = f"hf:{self.replica_rank}"


class ServerAdapter(base.BaseRollout):
    async def resume(self, tags):
        pass

    async def release(self):
        pass

    async def update_weights(self, weights, global_steps=None, **_):
        rank = torch.distributed.get_rank()
        whole = {name: value.detach().clone() for name, value in weights}
        await ray.get_actor(_server_name(rank)).load.remote(whole, global_steps)


RolloutReplicaRegistry.register("hf", lambda: HFReplica)
base._ROLLOUT_REGISTRY[("hf", "async")] = "verl_hf_rollout.ServerAdapter"

"""A platform that lets verl train on a CPU, for tests; verl loads it where ``VERL_USE_EXTERNAL_MODULES`` names it."""

import contextlib
import functools
import types

import torch
from verl.plugin.platform import PlatformBase, PlatformRegistry

_DEVICE = types.ModuleType("cpu_device")
for _name in ("max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved"):
    setattr(_DEVICE, _name, lambda *_, **__: 0)
for _name in (
    "empty_cache",
    "synchronize",
    "set_device",
    "manual_seed",
    "manual_seed_all",
    "reset_peak_memory_stats",
    "ipc_collect",
):
    setattr(_DEVICE, _name, lambda *_, **__: None)
_DEVICE.mem_get_info = lambda *_, **__: (8 << 30, 8 << 30)
_DEVICE.is_available = lambda: True
_DEVICE.current_device = lambda: torch.device("cpu")
_DEVICE.device_count = lambda: 1
_DEVICE.get_device_name = lambda *_: "CPU"


def _nothing(self, *_, **__):
    return None


@PlatformRegistry.register(platform="cpu")
class PlatformCPU(PlatformBase):
    device_name = vendor_name = "cpu"
    device_module = _DEVICE

    set_device = synchronize = set_allocator_settings = empty_cache = _nothing
    profiler_start = profiler_stop = cudart = _nothing

    def is_available(self):
        return True

    def current_device(self):
        return torch.device("cpu")

    def device_count(self):
        return 1

    def manual_seed(self, seed):
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def get_device_capability(self, device_index=0):
        return None, None

    def communication_backend_name(self):
        return "gloo"

    def visible_devices_envvar(self):
        return "CUDA_VISIBLE_DEVICES"

    @contextlib.contextmanager
    def nvtx_range(self, msg):
        yield

    def ray_resource_name(self):
        return "GPU"  # verl counts GPUs or NPUs; ray.init(num_gpus=...) makes them up

    def ray_noset_envvars(self):
        return []

    def is_ipc_supported(self):
        return False


import torch.distributed.fsdp._init_utils as _fsdp  # noqa: E402
import verl.utils.distributed as _distributed  # noqa: E402

# verl would ask for "cpu:gloo,cpu:gloo", which torch refuses.
_distributed.initialize_global_process_group_ray = functools.partial(
    _distributed.initialize_global_process_group_ray, backend="gloo"
)
# FSDP1 sends the weights of the first rank to the others from GPUs alone, and gloo does it from a CPU.
_fsdp._check_module_states_for_sync_module_states = lambda *_: None

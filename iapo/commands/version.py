"""`iapo --version`: what a question or a fault report should name."""

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

import iapo
from iapo.policy.loading import choose_device

_OPTIONAL = ("accelerate", "peft", "datasets", "math-verify", "deepspeed", "vllm", "trl", "verl")


def versions() -> str:
    """The versions of iapo and of what it stands on, and the device that ``--device auto`` takes; one a line."""
    device = choose_device()
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    lines = [f"iapo {iapo.__version__}", f"torch {torch.__version__}", f"transformers {version('transformers')}"]
    lines += [f"Python {platform.python_version()}", f"device {device.type} ({named})"]
    for name in _OPTIONAL:
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name} is not installed")
    return "\n".join(lines)

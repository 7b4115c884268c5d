"""Work on two processes of torch, connected by gloo."""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from ports import held_port
from torch import distributed, multiprocessing

from iapo.training.distributed.processes import Processes


def on_two(work: Callable[..., None], *arguments: Any) -> None:
    """Call ``work(processes, *arguments)`` on both of two processes; it is a function of a module."""
    with held_port() as port:
        multiprocessing.spawn(_join, (port, work, *arguments), nprocs=2)


def _join(index: int, port: int, work: Callable[..., None], *arguments: Any) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=index, world_size=2, timeout=timedelta(seconds=100))
    work(Processes(index, 2), *arguments)
    distributed.barrier()
    distributed.destroy_process_group()

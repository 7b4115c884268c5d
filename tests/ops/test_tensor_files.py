"""Files of tensors as they lie on the disk: who may read them is what the umask says, wherever they are written."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from saved_runs import save

from iapo.commands.export import export
from iapo.rollout.vllm.handover import written


@pytest.fixture(params=[0o027, 0o077, 0o002], ids="umask {:o}".format)
def mode(request: pytest.FixtureRequest) -> Iterator[int]:
    """Of files that Python makes."""
    before = os.umask(request.param)
    try:
        yield 0o666 & ~request.param
    finally:
        os.umask(before)


def test_checkpoints_exported_models_and_weights_that_are_handed_over(tmp_path: Path, mode: int) -> None:
    save(tmp_path / "run", 1)
    export(run=str(tmp_path / "run"), output=str(tmp_path / "model"), adapter=False)
    with written({"weight": torch.zeros(2)}, tmp_path / "handed", "remedy") as path:
        modes = {each: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.rglob("*") if each.is_file()}
    assert {tmp_path / "model" / "model.safetensors", path} < modes.keys()
    assert set(modes.values()) == {mode}, modes

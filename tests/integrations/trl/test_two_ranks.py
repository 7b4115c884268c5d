"""Two processes under torchrun, a group split between them, give what one gives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ports import held_port
from trainers import IAPOTrainer, trainer_of, weights_of

pytestmark = pytest.mark.filterwarnings("ignore")


class Given(IAPOTrainer):
    """Samples nothing: completions are those of a file, the same for any number of processes."""

    given: list[list[int]] = []  # noqa: RUF012

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, *args, **kwargs):
        first = self.accelerator.process_index * len(prompt_ids)
        return self.given[first : first + len(prompt_ids)], None


def run(folder: Path, ranks: int) -> Given:
    """A step on two prompts with four completions each, over all ranks."""
    Given.given = torch.load(folder / "given.pt")
    trainer = trainer_of(
        folder / f"{ranks}",
        Given,
        per_device_train_batch_size=8 // ranks,
        num_generations=8,
        max_steps=1,
        max_completion_length=40,
        shuffle_dataset=False,
        optim="sgd",
        learning_rate=0.5,
    )
    trainer.train()
    if trainer.accelerator.is_main_process:
        log = {name: value for name, value in trainer.state.log_history[0].items() if name.startswith("iapo/")}
        torch.save({"weights": weights_of(trainer), "log": log}, folder / f"{ranks}.pt")
    return trainer


def test_a_split_group_gives_what_a_whole_one_gives(tmp_path):
    from trainers import PROBLEMS, sampled

    trainer = trainer_of(tmp_path / "sampled", num_generations=8, max_completion_length=40)
    output = sampled(trainer, [PROBLEMS[0], PROBLEMS[0]])
    rows = [
        ids[mask.bool()].tolist() for ids, mask in zip(output["completion_ids"], output["completion_mask"], strict=True)
    ]
    torch.save(rows, tmp_path / "given.pt")
    run(tmp_path, 1)
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1]), str(here.parents[2]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    with held_port() as port:
        command += [f"--master_port={port}", __file__, str(tmp_path)]
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (torch.load(tmp_path / f"{ranks}.pt") for ranks in (1, 2))
    torch.testing.assert_close(two["weights"], one["weights"], atol=1e-5, rtol=0)
    assert not torch.equal(one["weights"], weights_of(trainer)), "the step moves them"
    assert one["log"].keys() == two["log"].keys()
    assert one["log"]["iapo/completions/probed"] > 0
    for name, value in one["log"].items():
        assert "/time/" in name or two["log"][name] == pytest.approx(value, abs=1e-4), name


if __name__ == "__main__":
    run(Path(sys.argv[1]), 2)
    torch.distributed.destroy_process_group()  # a thread of it that outlives the process aborts it

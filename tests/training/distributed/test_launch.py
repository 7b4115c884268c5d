"""The processes that a launcher started, and what is refused of them."""

from types import SimpleNamespace

import pytest
import torch

from iapo.cli import main
from iapo.ops.random_state import capture_rng
from iapo.rewards.rollouts import TIME_LIMIT
from iapo.training.distributed.launch import joined
from iapo.training.distributed.processes import SINGLE, OtherProcessError, Processes


def test_sharding_one_process_and_other_commands_on_several_are_refused(monkeypatch, capsys, tmp_path):
    assert main(["train", "--shard", "true", "--output", str(tmp_path / "run")]) == 1
    assert "shard: there is one process, want several" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["eval"]) == 1
    assert "got 2 processes, want one" in capsys.readouterr().err


def test_a_tracker_that_is_not_installed_is_said_before_anything_loads(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("iapo.training.reporting.tracking.find_spec", lambda name: None if name == "wandb" else name)
    assert main(["train", "--tracker", "wandb", "--output", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err == "iapo train: tracker: got 'wandb', but wandb is missing: pip install wandb\n"
    assert not (tmp_path / "run").exists()


def test_what_deepspeed_lacks_is_said_before_anything_loads(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    assert main(["train", "--output", str(tmp_path / "run")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("iapo train: accelerate: DeepSpeed is configured on one process, want several")
    assert "--use_deepspeed --num_processes 2" in told
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("iapo.ops.extras.find_spec", lambda name: None if name == "deepspeed" else name)
    assert main(["train", "--output", str(tmp_path / "run")]) == 1
    told = capsys.readouterr().err
    assert told == "iapo train: deepspeed is missing: install the extra, pip install 'iapo[deepspeed]'\n"
    assert not (tmp_path / "run").exists()


def test_one_process_needs_nothing():
    with joined("cpu") as (processes, device):
        assert (processes, device) == (SINGLE, torch.device("cpu"))
    state = capture_rng()["torch"]
    with processes.own_random(), processes.together():
        assert torch.equal(capture_rng()["torch"], state), "its stream is the common one"
    assert processes.gather(3) == [3]
    assert processes.from_first(lambda: 4) == 4


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[pair.cc:553] Connection closed by peer [127.0.0.1]:38616. This is typically caused by"), True),
        (RuntimeError("[pair.cc:537] Read error [127.0.0.1]:27821: Connection reset by peer."), True),
        (torch.distributed.DistNetworkError("Broken pipe"), True),
        (torch.distributed.DistNetworkError("Failed to recv, got 0 bytes. Connection was likely closed."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_a_process_that_is_gone_is_said_with_what_to_do(monkeypatch, error, lost):
    """The messages are those of torch to the process that is left, at a collective and while a group is made."""
    state = SimpleNamespace(process_index=0, num_processes=2, device=torch.device("cpu"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("accelerate.PartialState", lambda **settings: state)
    with pytest.raises(RuntimeError) as raised, joined("cpu"):
        raise error
    assert isinstance(raised.value, OtherProcessError) == lost
    assert ("it was killed" in str(raised.value) and "--resume goes on" in str(raised.value)) == lost


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", range(9))
def test_shares_are_all_there_is_once_and_differ_by_one_at_most(size, count):
    shares = [Processes(index, size).share(count) for index in range(size)]
    assert [each for share in shares for each in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_processes_wait_for_each_other_longer_than_a_reward_or_a_checkpoint_takes(monkeypatch):
    class StateError(Exception):
        """In place of connecting."""

    def connected(cpu, timeout):
        raise StateError(timeout)

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("accelerate.PartialState", connected)
    with pytest.raises(StateError) as waits, joined("cpu"):
        pass
    assert waits.value.args[0].total_seconds() >= 10 * TIME_LIMIT

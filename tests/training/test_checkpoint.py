"""Checkpoints: exact round trips, and every fault on the way to the disk and back.

Run as a program, this file saves a checkpoint in forked processes that die at the k-th operation on files, for all k.
"""

import errno
import json
import math
import os
import random
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny_model
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from iapo.embedded import model_path
from iapo.training import folder as folder_module
from iapo.training.checkpoint import (
    TrainingState,
    capture_rng,
    checkpoints,
    differences,
    latest_checkpoint,
    load_checkpoint,
    restore_rng,
    save_checkpoint,
)
from iapo.training.folder import DamagedCheckpointError, is_plain, write_folder
from iapo.training.tree import flatten, unflatten

CONFIG = {"seed": 1, "loss": {"clip": 0.2}, "ks": [1, 8]}


def policy(seed: int = 0) -> nn.Module:
    return tiny_model("llama", seed=seed, layers=1, tie_word_embeddings=True)


def tokenizer() -> object:
    return AutoTokenizer.from_pretrained(model_path())


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    groups = [{"params": [p for p in model.parameters() if p.ndim > 1]}]
    groups.append({"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    """Steps whose data come from three random generators; the losses."""
    losses = []
    for _ in range(steps):
        length = random.randint(3, 6) + int(numpy.random.randint(3))
        ids = torch.randint(3, 31, (2, length))
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def state_of(optimizer: torch.optim.Optimizer, step: int = 1) -> TrainingState:
    return TrainingState(optimizer.state_dict(), {"epoch": 0, "taken": step}, CONFIG, {"skipped": 3, "best": math.inf})


def save(run: Path, step: int, keep: int = 10) -> Path:
    """A checkpoint whose content tells its step."""
    model = policy(step)
    optimizer = optimizer_of(model)
    train(model, optimizer, 1)
    return save_checkpoint(run, step, state_of(optimizer, step), model, tokenizer(), keep)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with checkpoints 1 and 2; copy it before changing it."""
    run = tmp_path_factory.mktemp("run")
    save(run, 1)
    save(run, 2)
    return run


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "run"))


def test_resumed_run_repeats_the_other_bit_for_bit(tmp_path: Path) -> None:
    model = policy()
    optimizer = optimizer_of(model)
    train(model, optimizer, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    path = save_checkpoint(tmp_path / "new" / "run", 3, state_of(optimizer), model, tokenizer())
    expected = train(model, optimizer, 3)

    checkpoint = load_checkpoint(tmp_path / "new" / "run", CONFIG)
    resumed = AutoModelForCausalLM.from_pretrained(checkpoint.path)
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert resumed.get_input_embeddings().weight is resumed.get_output_embeddings().weight
    second = optimizer_of(resumed)
    second.load_state_dict(checkpoint.state.optimizer)
    random.seed(99), numpy.random.seed(99), torch.manual_seed(99)
    restore_rng(checkpoint.state.rng)
    losses = train(resumed, second, 3)

    assert losses == expected
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    assert checkpoint.path == path
    assert checkpoint.step == 3
    assert checkpoint.state.counters == {"skipped": 3, "best": math.inf}
    assert checkpoint.state.data == {"epoch": 0, "taken": 1}
    assert checkpoint.state.config == CONFIG
    assert AutoTokenizer.from_pretrained(path).get_vocab() == tokenizer().get_vocab()


def fresh_losses() -> list[float]:
    model = policy()
    return train(model, optimizer_of(model), 3)


@pytest.mark.parametrize("left_out", ["python", "numpy", "torch"])
def test_without_one_generator_the_run_is_another(left_out: str) -> None:
    rng = capture_rng()
    first = fresh_losses()
    other = capture_rng()
    restore_rng({**rng, left_out: other[left_out]})
    assert fresh_losses() != first
    restore_rng(rng)
    assert fresh_losses() == first


def test_only_safetensors_and_json(saved: Path) -> None:
    names = set(content_of(saved / "checkpoint-2"))
    assert {"model.safetensors", "state.safetensors", "state.json", "manifest.json", "tokenizer.json"} <= names
    assert {Path(name).suffix for name in names} <= {".safetensors", ".json", ".jinja"}


floats = st.floats(allow_nan=False)
leaves = st.none() | st.booleans() | st.integers() | floats | st.text(st.characters(codec="utf-8"), max_size=3)
tensors = st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.uint8]).flatmap(
    lambda dtype: st.lists(st.integers(0, 1), max_size=3).map(lambda values: torch.tensor(values).to(dtype))
)
trees = st.recursive(
    leaves | tensors,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.integers(0, 9) | st.sampled_from(["state", "lr", "a.b"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@given(trees)
@settings(max_examples=200, deadline=None)
def test_nested_state_comes_back_as_it_was(tree: object) -> None:
    structure, found = flatten(tree, "state")
    assert same(tree, unflatten(json.loads(json.dumps(structure, allow_nan=False)), found))


def test_tensors_that_share_memory_are_stored_apart(tmp_path: Path) -> None:
    whole = torch.arange(6.0).view(2, 3)
    state = TrainingState({"rows": whole, "column": whole[:, 1], "again": whole}, {}, {})
    save_checkpoint(tmp_path, 0, state, policy(), tokenizer())
    assert load_checkpoint(tmp_path).state.optimizer["column"].tolist() == [1, 4]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": object()}, r"state\.a: .* got object"),
        ({"a": {1.5: 0}}, r"state\.a: .* got 1\.5"),
        ({"a.b": torch.zeros(1), "a": {"b": torch.zeros(1)}}, r"state\.a\.b: two tensors"),
    ],
)
def test_what_cannot_be_stored_is_named(tree: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        flatten(tree, "state")


@pytest.mark.parametrize("damage", ["truncate", "empty", "flip", "zero", "append", "remove"])
def test_each_damaged_file_is_named_and_the_older_one_taken(run: Path, damage: str) -> None:
    newest = run / "checkpoint-2"
    draw = random.Random(damage)
    for name, content in content_of(newest).items():
        path = newest / name
        if damage == "remove":
            path.unlink()
        else:
            flipped = bytearray(content)
            flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            changed = {
                "truncate": content[: draw.randrange(1, len(content))],
                "empty": b"",
                "flip": bytes(flipped),
                "zero": bytes(len(content)),
                "append": content + b"\0",
            }
            path.write_bytes(changed[damage])
        with pytest.warns(UserWarning, match=f"checkpoint-2/{name}.*taking checkpoint-1 instead"):
            checkpoint = load_checkpoint(run, CONFIG)
        assert checkpoint.state.data == {"epoch": 0, "taken": 1}
        path.write_bytes(content)
    assert load_checkpoint(run, CONFIG).step == 2


def test_every_bit_of_the_manifest_counts(run: Path) -> None:
    shutil.rmtree(run / "checkpoint-1")
    manifest = run / "checkpoint-2" / "manifest.json"
    content = manifest.read_bytes()
    draw = random.Random(0)
    for _ in range(300):
        flipped = bytearray(content)
        flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        manifest.write_bytes(bytes(flipped))
        with pytest.raises(DamagedCheckpointError, match=r"no complete checkpoint.*manifest\.json"):
            latest_checkpoint(run)


def test_no_checkpoint(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / "nowhere") is None
    with pytest.raises(FileNotFoundError, match="checkpoint-N"):
        load_checkpoint(tmp_path)


def test_other_names_are_no_checkpoints(run: Path) -> None:
    for name in ("checkpoint-3.tmp", "checkpoint-x", "checkpoint-04", "checkpoint--5", "checkpoint-²"):
        (run / name).mkdir()
    assert [path.name for path in checkpoints(run)] == ["checkpoint-2", "checkpoint-1"]


def rewrite_manifest(checkpoint: Path, change: Callable[[dict], None]) -> None:
    """A manifest with a right digest of its own, after a change to its content."""
    content = json.loads((checkpoint / "manifest.json").read_text())["content"]
    for name in content["files"]:
        content["files"][name] = folder_module._digest(checkpoint / name)
    change(content)
    (checkpoint / "manifest.json").write_text(folder_module._render(content))


def test_newer_format_is_refused_with_both_versions(run: Path) -> None:
    rewrite_manifest(run / "checkpoint-2", lambda content: content.update(format=7))
    with pytest.raises(ValueError, match=r"format is 7, .* reads up to 1") as error:
        load_checkpoint(run)
    assert not isinstance(error.value, DamagedCheckpointError)


@pytest.mark.parametrize("part", ["optimizer", "rng"])
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_missing_state_is_refused(run: Path, part: str, how: str) -> None:
    path = run / "checkpoint-2" / "state.json"
    content = json.loads(path.read_text())
    content[part] = {"dict": []}
    if how == "absent":
        del content[part]
    path.write_text(json.dumps(content))
    rewrite_manifest(run / "checkpoint-2", lambda content: None)
    with pytest.raises(ValueError, match=part):
        load_checkpoint(run, override=True)


def test_missing_generator_and_missing_tensor_are_refused(run: Path) -> None:
    path = run / "checkpoint-2" / "state.json"
    text = path.read_text()
    for old, new, message in (('"rng.torch"', '"rng.other"', "rng.other"), ('["torch",', '["torsch",', "torch")):
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        rewrite_manifest(run / "checkpoint-2", lambda content: None)
        with pytest.raises(ValueError, match=message):
            load_checkpoint(run)


def test_differences_are_listed_field_by_field(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"seed": 2, "loss": {"clip": 0.2, "kl": 0.0}, "ks": (1, 8)}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 97)
    with pytest.raises(
        ValueError, match=r"threads: saved 1, now 97; loss.kl: saved nothing, now 0.0; seed: saved 1, now 2"
    ):
        load_checkpoint(run, config)
    assert load_checkpoint(run, config, override=True).step == 2


def test_equal_configurations_have_no_differences() -> None:
    assert differences({"a": (1, 2), "b": Path("x"), "c": {}}, {"c": {}, "b": "x", "a": [1, 2]}) == []
    assert differences({"a": {}}, {"a": None}) == ["a: saved {}, now null"]


@pytest.mark.parametrize("name", ["../checkpoint-1/state.json", "/etc/passwd", "a/../../x", "..", "c:\\x"])
def test_names_that_lead_out_are_refused(run: Path, name: str) -> None:
    assert not is_plain(name)
    rewrite_manifest(run / "checkpoint-2", lambda content: content["files"].update({name: "0" * 64}))
    with pytest.warns(UserWarning, match="no name inside the folder"):
        assert load_checkpoint(run).step == 1


def test_links_are_refused(run: Path) -> None:
    weights = run / "checkpoint-2" / "model.safetensors"
    weights.rename(run / "elsewhere")
    weights.symlink_to(run / "elsewhere")
    with pytest.warns(UserWarning, match="model.safetensors: is a symbolic link"):
        assert load_checkpoint(run).step == 1
    shutil.rmtree(run / "checkpoint-2")
    (run / "checkpoint-2").symlink_to(run / "checkpoint-1")
    with pytest.warns(UserWarning, match="checkpoint-2: is a symbolic link"):
        assert load_checkpoint(run).path == run / "checkpoint-1"
    with pytest.raises(FileExistsError, match="symbolic link"):
        save(run, 2)


def test_shard_index_cannot_name_other_files(run: Path) -> None:
    index = run / "checkpoint-2" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": "../../x.safetensors"}}))
    with pytest.warns(UserWarning, match=r"names '\.\./\.\./x\.safetensors'"):
        assert load_checkpoint(run).step == 1


def test_old_ones_go_after_the_new_one_is_complete(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(run, 3, keep=2)
    assert [path.name for path in checkpoints(run)] == ["checkpoint-3", "checkpoint-2"]
    monkeypatch.setattr(os, "rename", lambda *names: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        save(run, 4, keep=1)
    assert [path.name for path in run.iterdir() if path.name.startswith("checkpoint-4")] == []
    assert len(checkpoints(run)) == 2
    monkeypatch.undo()
    save(run, 4, keep=1)
    assert [path.name for path in run.iterdir()] == ["checkpoint-4"]


def test_complete_checkpoint_is_not_replaced_damaged_one_is(run: Path) -> None:
    with pytest.raises(FileExistsError, match="complete checkpoint of step 2"):
        save(run, 2)
    (run / "checkpoint-2" / "state.json").write_text("{}")
    save(run, 2)
    assert load_checkpoint(run, CONFIG).step == 2


@pytest.mark.parametrize(("step", "keep", "name"), [(-1, 1, "step"), (1, 0, "keep")])
def test_arguments(tmp_path: Path, step: int, keep: int, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: got"):
        save_checkpoint(tmp_path, step, TrainingState({"a": 1}, {}, {}), policy(), tokenizer(), keep)


def test_everything_is_flushed_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def record_flush(handle: int) -> None:
        events.append(("fsync", os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def record_rename(source: Path, target: Path) -> None:
        events.append(("rename", str(target)))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", record_flush)
    monkeypatch.setattr(os, "rename", record_rename)
    with write_folder(tmp_path / "checkpoint-1", 1) as folder:
        (folder / "a").write_text("a")
        (folder / "sub").mkdir()
        (folder / "sub" / "b").write_text("b")
    temporary = f"{tmp_path}/checkpoint-1.tmp"
    assert sorted(events[:2]) == [("fsync", f"{temporary}/a"), ("fsync", f"{temporary}/sub/b")]
    assert events[2:] == [
        ("fsync", f"{temporary}/manifest.json"),
        ("fsync", f"{temporary}/sub"),
        ("fsync", temporary),
        ("rename", f"{tmp_path}/checkpoint-1"),
        ("fsync", str(tmp_path)),
    ]


@pytest.fixture(scope="module")
def injected(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    """What this file reports when run as a program."""
    run = Path(shutil.copytree(saved, tmp_path_factory.mktemp("injected") / "run"))
    paths = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parents[1])])
    command = [sys.executable, __file__, str(run)]
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def test_killed_at_any_operation_the_newest_complete_one_loads(injected: dict[str, list]) -> None:
    kills = injected["kills"]
    assert len(kills) > 30
    assert all(kill["intact"] for kill in kills)
    steps = [kill["step"] for kill in kills]
    assert set(steps) == {2, 3}
    assert steps == sorted(steps), "once the new one is complete, it stays"
    assert all(kill["saved_after"] for kill in kills)


def test_killed_by_a_signal_at_any_time(injected: dict[str, list]) -> None:
    assert all(kill["intact"] and kill["step"] in (2, 3) for kill in injected["signals"])


def test_full_disk_leaves_nothing_behind(injected: dict[str, list]) -> None:
    failures = injected["full"]
    assert len(failures) >= 5
    assert all(failure["raised"] and failure["names"] == ["checkpoint-1", "checkpoint-2"] for failure in failures)
    assert all(failure["intact"] and failure["step"] == 2 for failure in failures)


def main(run: Path) -> dict[str, list]:
    """Save checkpoint 3 beside 1 and 2, with a fault each time."""
    import resource
    import signal
    import time

    warnings.simplefilter("ignore")
    disable_progress_bar()  # Its lock is shared between processes: one that dies holding it would stop the next.
    model = policy(3)
    optimizer = optimizer_of(model)
    train(model, optimizer, 1)
    arguments = (3, state_of(optimizer, 3), model, tokenizer())
    before = content_of(run / "checkpoint-2")
    work = run.with_name("work")

    def attempt(child: Callable[[], None], wait: Callable[[int], None] = lambda child: None) -> tuple[int, dict]:
        """Exit status of a forked process in a fresh copy of the run, and what it left."""
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(run, work)
        process = os.fork()
        if process == 0:
            try:
                signal.alarm(30)
                child()
                os._exit(0)
            except OSError:
                os._exit(3)
            except BaseException as error:
                os._exit(4 if "File too large" in str(error) else 5)
        wait(process)
        status = os.waitpid(process, 0)[1]
        checkpoint = load_checkpoint(work, CONFIG)
        left = {
            "step": checkpoint.step,
            "intact": content_of(work / "checkpoint-2") == before and checkpoint.state.data["taken"] == checkpoint.step,
            "names": sorted(path.name for path in work.iterdir()),
        }
        return status, left

    def die_at(count: int) -> Callable[[], None]:
        def child() -> None:
            left = [count]

            def step(*_: object) -> None:
                left[0] -= 1
                if left[0] == 0:
                    os._exit(9)

            def hook(event: str, values: tuple) -> None:
                watched = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")
                if event in watched and "work" in str(values[0]):
                    step()

            fsync = os.fsync
            os.fsync = lambda handle: (step(), fsync(handle), step())[1]
            sys.addaudithook(hook)
            save_checkpoint(work, *arguments, keep=2)

        return child

    def complete() -> bool:
        """Whether the run goes on after a fault."""
        if load_checkpoint(work).step == 2:
            save_checkpoint(work, *arguments, keep=2)
        save_checkpoint(work, 4, *arguments[1:], keep=2)
        return [path.name for path in sorted(work.iterdir())] == ["checkpoint-3", "checkpoint-4"]

    kills, status, count = [], 1, 0
    while status != 0:
        count += 1
        status, left = attempt(die_at(count))
        seen = [kill["names"] for kill in kills]
        kills.append({**left, "saved_after": left["names"] in seen or complete()})

    signals = []
    for delay in range(12):

        def wait(process: int, delay: int = delay) -> None:
            time.sleep(delay * 0.01)
            os.kill(process, signal.SIGKILL)

        signals.append(attempt(lambda: save_checkpoint(work, *arguments, keep=2) and None, wait)[1])

    full = []
    sizes = sorted(len(content) for content in content_of(run / "checkpoint-2").values())
    for limit in [0, 1, *(size - 1 for size in sizes)]:

        def child(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            save_checkpoint(work, *arguments, keep=2)

        status, left = attempt(child)
        full.append({**left, "raised": os.waitstatus_to_exitcode(status) in (3, 4)})
    return {"kills": kills, "signals": signals, "full": full}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))

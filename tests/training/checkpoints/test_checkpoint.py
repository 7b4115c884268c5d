"""Checkpoints: exact round trips, and the refusal of everything that is damaged, missing or different."""

import errno
import hashlib
import json
import math
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from safetensors import SafetensorError
from saved_runs import CONFIG, content_of, optimizer_of, policy, save, state_of, tokenizer, train
from transformers import AutoModelForCausalLM, AutoTokenizer

from iapo.ops.json_files import read_sealed, write_sealed
from iapo.ops.random_state import capture_rng, restore_rng
from iapo.ops.text_files import file_digest
from iapo.training.checkpoints.checkpoint import (
    FORMAT,
    TrainingState,
    checkpoints,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from iapo.training.checkpoints.folder import DamagedCheckpointError, is_plain, verify_folder, write_folder
from iapo.training.checkpoints.reproducibility import differences
from iapo.training.configuration.policy_source import PolicySource


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


def test_tensors_that_share_memory_are_stored_separately(tmp_path: Path) -> None:
    whole = torch.arange(6.0).view(2, 3)
    state = TrainingState({"rows": whole, "column": whole[:, 1], "again": whole}, {}, {})
    save_checkpoint(tmp_path, 0, state, policy(), tokenizer())
    assert load_checkpoint(tmp_path).state.optimizer["column"].tolist() == [1, 4]


@pytest.mark.parametrize("damage", ["truncate", "empty", "flip", "zero", "append", "remove"])
def test_each_damaged_file_is_named_and_the_older_one_taken(run: Path, damage: str) -> None:
    newest = run / "checkpoint-2"
    rng = random.Random(damage)
    for name, content in content_of(newest).items():
        path = newest / name
        if damage == "remove":
            path.unlink()
        else:
            flipped = bytearray(content)
            flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            changed = {
                "truncate": content[: rng.randrange(1, len(content))],
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
    rng = random.Random(0)
    for _ in range(300):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
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
    content = read_sealed(checkpoint / "manifest.json")
    for name in content["files"]:
        content["files"][name] = file_digest(checkpoint / name)
    change(content)
    write_sealed(checkpoint / "manifest.json", content)


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


def test_every_generator_that_is_captured_is_wanted_back() -> None:
    for name in ("python", "torch", "numpy"):
        without = {kind: state for kind, state in capture_rng().items() if kind != name}
        for rng in (without, {**without, name: None}):
            with pytest.raises(ValueError, match=rf"rng: the states of \['{name}'\] are missing"):
                TrainingState({"lr": 0.1}, {}, {}, rng=rng)


def test_a_folder_under_another_steps_name_is_refused(run: Path) -> None:
    (run / "checkpoint-2").rename(run / "checkpoint-9")
    with pytest.raises(ValueError, match=r"checkpoint-9: its state is of step 2, .* name it checkpoint-2"):
        load_checkpoint(run, override=True)


def test_a_policy_that_is_a_damaged_checkpoint_is_refused(run: Path, tmp_path: Path) -> None:
    newest, link = run / "checkpoint-2", tmp_path / "link"
    link.symlink_to(newest)
    PolicySource(model=str(link)).load()
    path = newest / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    for name in (newest, link):
        with pytest.raises(DamagedCheckpointError, match=r"model.safetensors: is damaged"):
            PolicySource(model=str(name)).load()


OWN = ("manifest.json", "state.json", "state.safetensors")


@pytest.mark.parametrize("name", OWN)
def test_a_policy_that_is_a_checkpoint_without_its_manifest_or_state_is_refused(run: Path, name: str) -> None:
    """Nothing could say that its weights are those that were written."""
    newest = run / "checkpoint-2"
    (newest / name).unlink()
    with pytest.raises(DamagedCheckpointError, match=rf"checkpoint-2/{name}: is missing"):
        PolicySource(model=str(newest)).load()


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 999, b'{"made_by": "another"}'])
@pytest.mark.parametrize("name", OWN)
def test_a_policy_that_is_a_checkpoint_whose_manifest_or_state_is_damaged_is_refused(
    run: Path, name: str, content: bytes
) -> None:
    newest = run / "checkpoint-2"
    (newest / name).write_bytes(content)
    with pytest.raises(DamagedCheckpointError, match=rf"checkpoint-2/{name}: is damaged"):
        PolicySource(model=str(newest)).load()


@pytest.mark.parametrize("text", ['{"made_by": "another"}', '{"step": 3, "content": {}}', '{"content": []}', "a pipe"])
def test_a_model_of_others_may_have_files_of_such_names(run: Path, text: str) -> None:
    """Two of them were enough for a model of others to be a damaged checkpoint."""
    newest = run / "checkpoint-2"
    for name in OWN:
        (newest / name).unlink()
        os.mkfifo(newest / name) if text == "a pipe" else (newest / name).write_text(text)
    PolicySource(model=str(newest)).load()


def test_a_pipe_that_is_no_index_is_not_waited_for(run: Path) -> None:
    os.mkfifo(run / "checkpoint-2" / "other.index.json")
    with pytest.raises(DamagedCheckpointError, match=r"other\.index\.json: is no index of weights"):
        verify_folder(run / "checkpoint-2", FORMAT)


@pytest.mark.parametrize("found", [0, -3, True])
def test_a_format_that_never_was_is_refused(run: Path, found: object) -> None:
    rewrite_manifest(run / "checkpoint-2", lambda content: content.update(format=found))
    with pytest.raises(ValueError, match=f"format is {found}"):
        verify_folder(run / "checkpoint-2", FORMAT)


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


@pytest.mark.parametrize(
    "name",
    ["adapter_config.json", "chat_template.jinja", "additional_chat_templates/x.jinja", "model-00001.safetensors"],
)
def test_a_file_that_was_added_and_would_be_loaded_is_refused(run: Path, name: str) -> None:
    added = run / "checkpoint-2" / name
    added.parent.mkdir(exist_ok=True)
    added.write_text("{}")
    with pytest.warns(UserWarning, match=f"{name}: was added, and would be loaded; move it elsewhere"):
        assert load_checkpoint(run).step == 1
    added.rename(run / "checkpoint-2" / "notes.json")
    assert load_checkpoint(run).step == 2


def test_shard_index_cannot_name_other_files(run: Path) -> None:
    index = run / "checkpoint-2" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": "../../x.safetensors"}}))
    digest = hashlib.sha256(index.read_bytes()).hexdigest()
    rewrite_manifest(run / "checkpoint-2", lambda content: content["files"].update({index.name: digest}))
    with pytest.warns(UserWarning, match=r"names '\.\./\.\./x\.safetensors'"):
        assert load_checkpoint(run).step == 1


def test_the_newest_is_chosen_by_number_not_by_name(run: Path) -> None:
    save(run, 9)
    save(run, 10)
    assert [path.name for path in checkpoints(run)][:2] == ["checkpoint-10", "checkpoint-9"]
    assert latest_checkpoint(run) == run / "checkpoint-10"
    assert load_checkpoint(run, CONFIG).step == 10
    save(run, 11, keep=2)
    assert [path.name for path in checkpoints(run)] == ["checkpoint-11", "checkpoint-10"]


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


def test_a_full_disk_is_named_with_the_remedy_and_nothing_is_left(tmp_path: Path, monkeypatch) -> None:
    def full(*arguments: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("iapo.training.checkpoints.checkpoint.save_file", full)
    with pytest.raises(OSError, match=r"checkpoint-3: could not be written: .*No space left.*; make room, then go on"):
        save(tmp_path, 3)
    assert checkpoints(tmp_path) == []


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

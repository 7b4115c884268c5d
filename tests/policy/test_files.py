"""The digest of the files of a model, by its source."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from iapo.embedded import model_path
from iapo.policy.files import files_digest


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_path(), tmp_path / "model"))


def test_it_is_that_of_the_files_wherever_they_are(model):
    assert files_digest(str(model)) == files_digest("embedded")


@pytest.mark.parametrize(("name", "place"), [("config.json", 9), ("tokenizer.json", -9), ("model.safetensors", 9)])
def test_it_changes_with_each_file(model, name, place):
    content = bytearray((model / name).read_bytes())
    content[place] ^= 1
    (model / name).write_bytes(content)
    assert files_digest(str(model)) != files_digest("embedded")


def test_it_changes_with_the_weights(model):
    weights = load_file(model / "model.safetensors")
    save_file({name: weight + 1e-3 for name, weight in weights.items()}, model / "model.safetensors")
    assert files_digest(str(model)) != files_digest("embedded")


def test_adapters_have_that_of_their_base_too(model, tmp_path):
    (tmp_path / "adapters").mkdir()
    config = {"base_model_name_or_path": str(model)}
    (tmp_path / "adapters" / "adapter_config.json").write_text(json.dumps(config))
    before = files_digest(str(tmp_path / "adapters"))
    (model / "chat_template.jinja").write_text("{{ messages }}")
    assert files_digest(str(tmp_path / "adapters")) != before


def test_of_a_gguf_file_its_neighbors_are_none(tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    before = files_digest(str(tmp_path / "a.gguf"))
    (tmp_path / "b.gguf").write_bytes(b"other")
    assert files_digest(str(tmp_path / "a.gguf")) == before
    (tmp_path / "a.gguf").write_bytes(b"FUGG")
    assert files_digest(str(tmp_path / "a.gguf")) != before


def test_of_a_model_on_the_hub_it_is_the_revision(tmp_path, monkeypatch):
    """In the hub's cache, as a download leaves it."""
    revision, repository = "0" * 40, tmp_path / "models--someone--model"
    shutil.copytree(model_path(), repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(tmp_path), raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert files_digest("someone/model") == revision

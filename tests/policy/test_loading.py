"""Models from every kind of source, and the device and precision chosen for them."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from models import tiny_model
from safetensors.torch import load_file, save_file

from iapo.embedded import model_path
from iapo.policy.loading import choose_autocast, choose_device, load_model, load_tokenizer


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_path(), tmp_path / "model"))


def test_embedded_and_local_directory_are_the_same(copy: Path) -> None:
    (first, tokenizer), (second, _) = load_model("embedded"), load_model(copy)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert next(first.parameters()).dtype == torch.float32
    assert not first.training
    assert tokenizer.padding_side == "left"
    ids = torch.tensor([tokenizer("3+8=", add_special_tokens=False)["input_ids"]])
    assert first(input_ids=ids).logits.shape[:2] == ids.shape


def test_dtype_and_attention_are_as_asked() -> None:
    model, _ = load_model("embedded", dtype=torch.bfloat16, attn_implementation="eager")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.config._attn_implementation == "eager"


def test_a_tokenizer_without_padding_pads_with_the_end(copy: Path) -> None:
    config = copy / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"pad_token": "<pad>",', ""))
    tokenizer = load_tokenizer(str(copy))
    assert tokenizer.pad_token == tokenizer.eos_token == "<eos>"


def test_missing_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no directory .*nowhere"):
        load_model(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="no directory runs/models/nowhere"):
        load_model("runs/models/nowhere")
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing\.gguf"):
        load_model(str(tmp_path / "nothing.gguf"))
    with pytest.raises(ValueError, match=r"cannot be loaded .*no directory .*nowhere"):
        load_tokenizer(str(tmp_path / "nowhere"))


def test_weights_that_are_not_all_there_are_refused(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    left_out = next(name for name in weights if name.endswith("down_proj.weight"))
    del weights[left_out]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"lack 1 of the tensors of .*, such as {left_out}, which would be newly"):
        load_model(str(copy))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS in place of the file; get it with"),
        (b"\xff" * 64, "is damaged or not complete: SafetensorError"),
        (None, "is damaged or not complete: SafetensorError"),
    ],
)
def test_the_damaged_one_of_several_files_of_weights_is_named(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    model, tokenizer = load_model("embedded")
    model.save_pretrained(tmp_path, max_shard_size="400KB"), tokenizer.save_pretrained(tmp_path)
    file = sorted(tmp_path.glob("model-*.safetensors"))[1]
    file.write_bytes(file.read_bytes()[:-1] if content is None else content)
    with pytest.raises(ValueError, match=rf"cannot be loaded \({file.name} {message}"):
        load_model(str(tmp_path))


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe{", b"[]", b""])
def test_a_generation_configuration_that_would_be_ignored_is_refused(content: bytes, copy: Path) -> None:
    (copy / "generation_config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"generation_config\.json is no JSON object; get it again, or remove it"):
        load_model(str(copy))


@pytest.mark.parametrize(("put", "fault"), [(Path.mkdir, "is a folder, want a file"), (os.mkfifo, "is a named pipe")])
def test_what_is_no_generation_configuration_is_refused(put, fault: str, copy: Path) -> None:
    """It was passed over like one that is not there, and with it the tokens that end a sequence."""
    path = copy / "generation_config.json"
    path.unlink()
    put(path)
    with pytest.raises(OSError, match=rf"generation_config\.json: {fault}"):
        load_model(str(copy))


def test_a_generation_configuration_whose_link_leads_nowhere_is_refused(copy: Path) -> None:
    path = copy / "generation_config.json"
    path.unlink()
    path.symlink_to(copy / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"generation_config\.json"):
        load_model(str(copy))


def test_tied_weights_are_there_once(tmp_path: Path) -> None:
    model = tiny_model("llama", tie_word_embeddings=True)
    model.save_pretrained(tmp_path)
    load_tokenizer("embedded").save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    loaded, _ = load_model(str(tmp_path))
    assert torch.equal(loaded.lm_head.weight, model.get_input_embeddings().weight)


def test_gguf_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iapo.ops.extras.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'iapo\[gguf\]'"):
        load_model("model.gguf")


def test_gguf_can_be_trained_and_saved(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    width, words = 32, ["<unk>", "<s>", "</s>", "a", "b", "ab", "ba"]
    writer.add_block_count(1)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(width)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_context_length(64)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_types([2, 3, 3, 1, 1, 1, 1])
    writer.add_token_merges(["a b", "b a"])  # two, for transformers 5.17 takes a list of one for its element
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    shapes = {"token_embd": (len(words), width), "output_norm": (width,), "output": (len(words), width)}
    shapes |= {f"blk.0.{name}": (width,) for name in ("attn_norm", "ffn_norm")}
    matrices = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    shapes |= {f"blk.0.{name}": (width, width) for name in matrices}
    values = {name: torch.randn(shape, generator=torch.Generator().manual_seed(0)) for name, shape in shapes.items()}
    for name, value in values.items():
        packed = value.ndim > 1 and name.startswith("blk")
        kind = gguf.GGMLQuantizationType.Q8_0 if packed else gguf.GGMLQuantizationType.F32
        writer.add_tensor(f"{name}.weight", gguf.quantize(value.numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    model, tokenizer = load_model(str(path))

    assert tokenizer("ab", add_special_tokens=False)["input_ids"] == [5]
    assert tokenizer.pad_token_id is not None
    up = model.model.layers[0].mlp.up_proj.weight
    assert torch.allclose(up, values["blk.0.ffn_up"], atol=0.05)
    ids = torch.tensor([[3, 4, 5]])
    model(input_ids=ids, labels=ids).loss.backward()
    assert up.grad is not None
    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    again, _ = load_model(str(tmp_path / "saved"))
    assert torch.equal(again.model.layers[0].mlp.up_proj.weight, up)


def test_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")
    with pytest.raises(ValueError, match="device: got 'cuda:0'"):
        choose_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device() == torch.device("cuda")
    assert choose_device("cpu") == torch.device("cpu")


def test_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for supported, expected in ((True, torch.bfloat16), (False, None)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported: supported)
        assert choose_autocast("auto", cuda) == expected
        assert choose_autocast("auto", cpu) is None
    assert choose_autocast("bf16", cpu) == torch.bfloat16
    assert choose_autocast("fp32", cuda) is None
    with pytest.raises(ValueError, match="precision: got 'fp8'"):
        choose_autocast("fp8", cpu)

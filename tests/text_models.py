"""A model that reads and writes any text: tiny, with random weights."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast


def write_text_model(path: Path) -> None:
    """Write its folder; the tokenizer is of bytes, with few merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet, special = pre_tokenizers.ByteLevel.alphabet(), ["<eos>", "<pad>"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["Let me check: 12 + 3 = 15. Yes.\n"], trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>")
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"eos_token_id": wrapped.eos_token_id, "pad_token_id": wrapped.pad_token_id}
    config = AutoConfig.for_model("llama", vocab_size=len(wrapped), max_position_embeddings=1024, **shape, **ids)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(path)
    wrapped.save_pretrained(path)

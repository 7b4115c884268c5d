"""Models and a tokenizer to test with: tiny, random, built here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from iapo.ops.checks import check_integer
from iapo.policy.forward import unwrap
from iapo.testing.checks import assert_close, seeded

_SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", "<think>", "</think>", "<answer>", "</answer>")
_SYMBOLS = (*_SPECIAL, *"0123456789+-*=abcdefghi")
VOCAB = len(_SYMBOLS)
"""Tokens of `tiny_tokenizer`, and of `tiny_llama` by default."""


def tiny_llama(vocab: int = VOCAB, attends: bool = True, reads: bool = True) -> LlamaForCausalLM:
    """A llama with random weights, fp32, in evaluation mode, whose distributions are far from uniform.

    Its weights are the same every time, and torch's generator is left as it was.

    Args:
        vocab: number of tokens, at least 2; token 2 (1 if there are but two) ends a text.
        attends: ``False``: attention outputs are 0, so that what follows a token depends on that token alone.
        reads: ``False``: all tokens have one embedding, so that what follows does not depend on any text.

    Raises:
        ValueError: ``vocab`` below 2.

    Example:
        >>> ids = torch.tensor([[3, 4, 5], [9, 8, 5]])
        >>> logits = tiny_llama(attends=False)(input_ids=ids).logits
        >>> torch.equal(logits[0, 2], logits[1, 2]), torch.equal(logits[0, 1], logits[1, 1])
        (True, False)
    """
    check_integer("vocab", vocab, least=2)
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=min(2, vocab - 1),
        pad_token_id=0,
    )
    with seeded(0):
        model = LlamaForCausalLM(config)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.3)
    if not reads:
        model.model.embed_tokens.weight.data[:] = model.model.embed_tokens.weight[0].clone()
    if not attends:
        for layer in model.model.layers:
            nn.init.zeros_(layer.self_attn.o_proj.weight)
    return model.eval()


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of `VOCAB` symbols: digits, signs, some letters, and markers of reasoning and answer.

    Example:
        >>> tiny_tokenizer()("<think>3+4=7</think>").input_ids
        [4, 11, 18, 12, 21, 15, 5]
    """
    tokenizer = Tokenizer(models.WordLevel({symbol: i for i, symbol in enumerate(_SYMBOLS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"<[a-z/]+>|[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


class Wrapped(nn.Module):
    """A model inside another module, as DDP has it: called through, its attributes out of reach.

    Args:
        module: the model.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's output."""
        return self.module(*args, **kwargs)


def logits_in_fp32(module: nn.Module, inputs: Any, output: Any) -> Any:
    """A forward hook: what a model returns, its logits in fp32."""
    if getattr(output, "logits", None) is not None:
        output.logits = output.logits.float()
    return output


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Raise ``AssertionError`` if the model leaves the context changed.

    Compared: weights and buffers, what needs a gradient and the gradients, the training mode of every module (mixed
    before, so that a plain ``train()`` afterwards is seen), attention implementation and generation settings, and the
    logits of a short text, bitwise.
    """
    inner = unwrap(model)
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    for index, module in enumerate(modules.values()):
        module.training = index % 3 != 1
    modes = {name: module.training for name, module in modules.items()}
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    needing = {name: parameter.requires_grad for name, parameter in parameters.items()}
    settings, logits = _settings(inner), _logits(model)
    yield
    changed = [name for name, module in modules.items() if module.training != modes[name]]
    if changed:
        raise AssertionError(f"training mode: {len(changed)} of {len(modes)} modules changed, first {changed[0]!r}")
    for name, value in model.state_dict().items():
        if not torch.equal(value, weights[name]):
            assert_close(f"weight {name}", value, weights[name], atol=0)
    for name, parameter in parameters.items():
        if parameter.requires_grad != needing[name]:
            raise AssertionError(f"parameter {name}: requires_grad was {needing[name]}, is {parameter.requires_grad}")
        if parameter.grad is not None:
            raise AssertionError(f"parameter {name}: has a gradient of shape {tuple(parameter.grad.shape)}, had none")
    if _settings(inner) != settings:
        raise AssertionError(f"settings: were {settings}, are {_settings(inner)}")
    assert_close("logits of the same text, after the call", _logits(model), logits, atol=0)


def _settings(inner: Any) -> dict[str, Any]:
    generation = getattr(inner, "generation_config", None)
    return {
        "attention": getattr(inner.config, "_attn_implementation", None),
        "generation": None if generation is None else generation.to_dict(),
    }


def _logits(model: nn.Module) -> Tensor:
    device = next(model.parameters()).device
    ids = torch.tensor([[1, 0, 1]], device=device)
    with torch.no_grad(), seeded(device=device):
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits

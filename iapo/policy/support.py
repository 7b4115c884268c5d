"""Which models give a text's next-token distributions by one forward over the whole text, as far as a config says."""

import inspect
from typing import Any

from jaxtyping import Bool
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from iapo.policy.forward import UnsupportedModelError, unwrap
from iapo.policy.limits import limits_of_config, table_of_positions, turning_length

_OFFSET_POSITIONS = frozenset(
    ["camembert", "data2vec-text", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"]
)
"""Model types that number positions from behind ``pad_token_id``, and take explicit ones as they stand."""
_ENCODERS = _OFFSET_POSITIONS | frozenset(
    ["bert", "bert-generation", "big_bird", "electra", "ernie", "megatron-bert", "rembert", "roc_bert", "roformer"]
)
"""Model types whose tokens see later ones unless the config says ``is_decoder``."""
_NEVER_CAUSAL = frozenset(["cpmant", "diffusion_gemma", "paligemma", "xlnet"])
"""Model types whose tokens see later ones of a plain text, whatever else the config says."""
_PADDING_IN_STATE = frozenset(["deepseek_v4", "recurrent_gemma", "rwkv"])
"""Model types that take left padding for text, whatever mask and positions they are given."""
_EXACT_WITHOUT_POSITIONS = frozenset(["bloom", "falcon_mamba", "mamba", "mamba2", "mpt"])
"""Model types without ``position_ids`` that left padding does not change."""


def check_causal(model: nn.Module) -> None:
    """Raise unless a token's distribution depends on the tokens before it only, at positions counted from 0.

    It reads the config and runs no forward. A module without a config passes.

    Raises:
        UnsupportedModelError: the model has an encoder, tokens see later ones, positions start at an offset, or PEFT
            puts a learned prompt in front of each text.
    """
    kind = learned_prompt(model)
    if kind is not None:
        raise UnsupportedModelError(
            f"model: {kind} puts virtual tokens in front of each text, which masks and positions do not know, so the "
            "log-probabilities of a padded text would be silently wrong; use adapters of weights, such as LoraConfig"
        )
    config = _config(model)
    if config is None:
        return
    text = config.get_text_config()
    why = _why_not_causal(config, text)
    if why:
        raise UnsupportedModelError(
            f"model: {text.model_type} {why}, so the log-probabilities and entropies of a text would be silently "
            "wrong. Use a causal language model whose positions start at 0 (Llama, Qwen, Gemma, GPT-2 and the like)."
        )


def check_text(model: nn.Module, mask: Bool[Tensor, "batch width"]) -> None:
    """Raise unless one forward over padded texts gives what forwards over their prefixes would give.

    It runs no forward, and reads the mask only for models that need it, so that other models wait for no device.

    Args:
        model: a causal language model, possibly wrapped.
        mask: the tokens of the texts, ``True`` = not padding.

    Raises:
        UnsupportedModelError: as `check_causal`; a text beyond the model's `turning_length`; padding in front of a text
            for a model that takes it for text.
        ValueError: a text is longer than the model's table of positions.
    """
    check_causal(model)
    config = _config(model)
    if config is None or not mask.numel():
        return
    text = config.get_text_config()
    most = [each for each in (table_of_positions(text), turning_length(text)) if each is not None]
    if mask.shape[1] > min(most, default=mask.shape[1]):
        check_length(text, int(mask.sum(1).max()))
    if padding_is_text(model) and bool((mask[:, 1:] & ~mask[:, :-1]).any()):
        raise UnsupportedModelError(
            f"model: {text.model_type} takes padding in front of a prompt for text (it has a state, or "
            "takes no position_ids), so log-probabilities would be silently wrong; use prompts of one length, or a "
            "model that takes position_ids"
        )


def padding_is_text(model: nn.Module) -> bool:
    """Whether padding in front of a text changes the text's distributions, whatever mask and positions are given.

    It reads the config and the signature of the forward, and runs none. A module without a config says no.
    """
    config = _config(model)
    if config is None:
        return False
    kind = config.get_text_config().model_type
    if kind in _PADDING_IN_STATE or kind in _EXACT_WITHOUT_POSITIONS:
        return kind in _PADDING_IN_STATE
    # A wrapper such as PEFT's has a signature of its own, which does not say what the model inside takes.
    inner = next((module for module in unwrap(model).modules() if isinstance(module, PreTrainedModel)), None)
    return inner is not None and "position_ids" not in inspect.signature(type(inner).forward).parameters


def learned_prompt(model: nn.Module) -> str | None:
    """The name of PEFT's configuration if a model's prompt is learned (prefix, prompt and p-tuning), else ``None``."""
    try:
        adapters = getattr(unwrap(model), "peft_config", None)
    except TypeError:
        return None
    kinds = () if adapters is None else adapters.values()
    return next((type(each).__name__ for each in kinds if getattr(each, "is_prompt_learning", False)), None)


def layer_types(config: Any) -> set[str]:
    """The kinds of layers that a text config names, as transformers does since 5.10; empty if it names none.

    Older versions have them of some hybrids by another name, and call attention layers ``attention``.
    """
    found = getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None) or ()
    return {"full_attention" if kind == "attention" else kind for kind in found}


def check_length(config: Any, longest: int) -> None:
    """Raise unless the model has positions for ``longest`` tokens: prompt, completion and what is appended.

    Args:
        config: the model's text config.
        longest: tokens of the longest text, padding excluded.

    Raises:
        ValueError: more than the model's positions (`iapo.policy.limits`).
        UnsupportedModelError: beyond its `turning_length`, the model rotates all its keys by other angles.
    """
    limit, turning = limits_of_config(config).positions, turning_length(config)
    if turning is not None and longest > turning:
        raise UnsupportedModelError(
            f"rollout: a text takes {longest} positions; beyond {turning} this model rotates all its keys by other "
            "angles (dynamic or longrope scaling), so that a prefix alone and in a longer text, or beside one in a "
            "batch, are not the same; sample shorter completions, or load the model with one rotation for all "
            "lengths (of longrope, config.rope_parameters with short_factor equal to long_factor)"
        )
    if limit is not None and longest > limit:
        raise ValueError(
            f"rollout: prompt, completion and postfix take {longest} positions, the model has {limit} "
            "(config.max_position_embeddings); sample shorter completions or raise it"
        )


def _config(model: nn.Module) -> Any:
    """The config of the model inside wrappers, or ``None`` where it is not one of transformers."""
    try:
        config = unwrap(model).config
    except TypeError:
        return None
    return config if isinstance(config, PreTrainedConfig) else None


def _why_not_causal(config: Any, text: Any) -> str:
    """What keeps a model from being causal with positions from 0 on, as far as its config says; empty: nothing."""
    kind = text.model_type
    if getattr(config, "is_encoder_decoder", False):
        return "has an encoder, which reads a prompt apart from its completion (is_encoder_decoder)"
    if kind in _ENCODERS and not getattr(text, "is_decoder", False):
        return "has tokens that see later ones (it is an encoder unless the config says is_decoder=True)"
    if {config.model_type, kind} & _NEVER_CAUSAL:
        return f"has prompts whose tokens see later ones ({config.model_type})"
    if getattr(text, "use_bidirectional_attention", None) in (True, "all") or getattr(text, "causal", None) is False:
        return "has tokens that see later ones (use_bidirectional_attention, or causal=False)"
    if kind in _OFFSET_POSITIONS:
        return "numbers positions from behind its padding token's id"
    return ""

"""The base class of samplers of a language model: their arguments, the end of a completion, and the rollout."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from iapo.interfaces import Prompts, Sampler
from iapo.ops.checks import check_integer, check_kinds, check_loaded, check_number
from iapo.policy.forward import inference_mode, unwrap
from iapo.policy.limits import check_room, limits_of, table_of_positions
from iapo.policy.support import check_causal, padding_is_text
from iapo.rollout.collation import collate
from iapo.rollout.ends import style_of
from iapo.rollout.prompts import encode_prompts
from iapo.rollout.stopping import Ending, endings, stop_texts
from iapo.styles import CompletionStyle
from iapo.types import Rollout

_ALONE = (
    "use TransformersSampler, which samples such texts alone: a longer one turns all rotations of its batch (dynamic "
    "or longrope scaling)"
)
"""What helps where `iapo.policy.limits.turning_length` is too short."""

Generated = tuple[Int[Tensor, "batch token"], Float[Tensor, "batch token"] | None]
"""Sampled tokens and their log-probabilities (nats; ``None``: unknown); meaningless behind a first end."""


@dataclass(frozen=True, eq=False)
class LanguageModelSampler(Sampler):
    """Base of what samples from a causal language model: ``o_t ~ softmax(logits_t / temperature)``, cut to ``top_p``.

    The model is sampled as it is: penalties, top-k and the like in its ``generation_config`` do not apply; only its
    end-of-sequence ids are read, with the tokenizer's. It runs in evaluation mode without gradients; its training mode
    is put back. A completion ends with its first end-of-sequence token, which belongs to it, with the token that
    completes a stop text, or, cut, at ``max_new_tokens``. All its tokens are learned from; its text is read without the
    stop text (`iapo.Rollout`, ``unread``).

    *Randomness.* Tokens are sampled with torch's global generator of the model's device. ``torch.manual_seed`` makes
    a call repeatable; to resume a run, save and restore ``torch.get_rng_state()`` (on CUDA, ``torch.cuda``'s too).

    *Log-probabilities.* ``sampler_logprobs`` are those of the sampled tokens in nats, after the temperature and
    before ``top_p`` cuts the tail off. At temperature 0 (the likeliest token every time, which has no distribution)
    they are those at temperature 1.

    Args:
        model: a causal language model of transformers, possibly wrapped (DDP).
        tokenizer: of the model. Texts get the beginning-of-sequence token that it puts before texts, unless a chat
            template, applied before, has written its special tokens already (`iapo.rollout.prompts.encode_prompts`).
        max_new_tokens: the length at which a completion is cut, in tokens.
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_p: tokens are sampled from the smallest set that holds this probability.
        max_batch: completions sampled at once; ``None``: all.
        style: how the completions reason and answer; ``None``: `iapo.styles.USUAL_STYLE`.
        stop: texts that end a completion, wherever they stand in its tokens: one, or several.

    Raises:
        ValueError: a number outside its range, or an empty stop text; on a call, weights on the meta device, a prompt
            of which no token is made, a token, that of padding too, that the model has no embedding of, or a prompt
            that with ``max_new_tokens`` is longer than a model's table of positions, or so long that a model with
            ``dynamic`` or ``longrope`` scaling turns all its rotations (not if the sampler keeps rows apart).
        TypeError: on a call, a model that cannot generate.
        iapo.policy.forward.UnsupportedModelError: on a call, a model that is not causal, or whose positions start at an
            offset (`iapo.policy.support.check_causal`).
        FloatingPointError: on a call, logits that are NaN or infinite.
    """

    keeps_rows_apart: ClassVar[bool] = False
    """Whether a completion in which all rotations turn (`iapo.policy.limits.turning_length`) is sampled as it would be
    alone. In a batch of transformers the longest text turns those of all others, and keys in a cache stay as they were.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    max_batch: int | None = None
    style: CompletionStyle | None = None
    stop: str | tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_kinds(self)
        object.__setattr__(self, "stop", stop_texts(self.stop))
        check_integer("max_new_tokens", self.max_new_tokens)
        check_number("temperature", self.temperature, "a number of at least 0", lambda x: x >= 0)
        check_number("top_p", self.top_p, "a number above 0 and at most 1", lambda x: 0 < x <= 1)
        check_integer("max_batch", self.max_batch, or_none=True)

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """The tokens that end a completion: those of the model's ``generation_config`` and the tokenizer's."""
        own: Any = unwrap(self.model).generation_config.eos_token_id
        ids: list[Any] = [own] if isinstance(own, int | str) else list(own or [])
        if not all(isinstance(token, int) for token in ids):
            raise ValueError(f"model: its generation_config has eos_token_id {own!r}, want the ids of tokens")
        if self.tokenizer.eos_token_id is not None:
            ids.append(self.tokenizer.eos_token_id)
        return tuple(dict.fromkeys(ids))

    def sample(self, prompts: Prompts, group_size: int) -> Rollout:
        """Sample ``group_size`` completions of each prompt, one prompt after the other."""
        check_loaded(self.model)
        model = unwrap(self.model)
        self.check_model(model)
        prompt_ids = encode_prompts(prompts, self.tokenizer)
        limits = limits_of(model)
        for index, ids in enumerate(prompt_ids):
            limits.check_tokens(ids, self.tokenizer, f"prompts[{index}]")
        most = self.most_positions(model)
        remedy = {"remedy": _ALONE} if most == limits.turning and not self.keeps_rows_apart else {}
        check_room(prompt_ids, self.max_new_tokens, most, **remedy)
        eos_ids = self.eos_ids
        pad_id = self.tokenizer.pad_token_id
        pad_id = pad_id if pad_id is not None else next(iter(eos_ids), 0)
        limits.check_tokens([pad_id], self.tokenizer, "tokenizer: padding")
        completion_ids: list[list[int]] = []
        found: list[Ending] = []
        logprobs: list[list[float]] = []
        with inference_mode(self.model):
            for tokens, values in self.generate(model, prompt_ids, group_size, eos_ids, pad_id):
                rows = tokens.tolist()
                ends = endings(self.tokenizer, rows, eos_ids, self.stop)
                found += ends
                completion_ids += [row[: end.length] for row, end in zip(rows, ends, strict=True)]
                if values is not None:
                    logprobs += [row[: end.length] for row, end in zip(values.tolist(), ends, strict=True)]
        return collate(
            prompt_ids=[ids for ids in prompt_ids for _ in range(group_size)],
            completion_ids=completion_ids,
            group_ids=[group for group in range(len(prompts)) for _ in range(group_size)],
            pad_id=pad_id,
            tokenizer=self.tokenizer,
            style=style_of(self),
            eos_ids=eos_ids,
            sampler_logprobs=logprobs or None,
            device=model.device,
            finished=[end.finished for end in found],
            unread=[end.unread for end in found] if self.stop else None,
        )

    def check_model(self, model: Any) -> None:
        """Raise for a model, wrappers taken off, that cannot be sampled this way."""
        if not hasattr(model, "generate"):
            raise TypeError(f"model: want a model of transformers that can generate, got {type(model).__name__}")
        check_causal(model)

    def most_positions(self, model: Any) -> int | None:
        """Hook: how many tokens a prompt and its completion may have together, as far as it is known before."""
        turning = None if self.keeps_rows_apart else limits_of(model).turning
        found = (table_of_positions(model.config), turning)
        return min((each for each in found if each is not None), default=None)

    @abstractmethod
    def generate(
        self, model: Any, prompt_ids: list[list[int]], group_size: int, eos_ids: Sequence[int], pad_id: int
    ) -> Iterator[Generated]:
        """Hook: batches of completions that follow each other in the order of the prompts, groups together.

        Args:
            model: wrappers taken off; in evaluation mode, gradients off.
            prompt_ids: one row of tokens a prompt.
            group_size: completions of each.
            eos_ids: tokens that end a completion.
            pad_id: the token id of padding.
        """


def beside_each_other(model: nn.Module, prompt_ids: list[list[int]]) -> list[list[list[int]]]:
    """The prompts in parts that can be padded to one length: all of them, or, where padding is text, those as long.

    Args:
        model: reads them.
        prompt_ids: one row of tokens a prompt; the parts follow each other in their order.
    """
    if not padding_is_text(model):
        return [prompt_ids]
    return [list(part) for _, part in groupby(prompt_ids, key=len)]

"""Returns completions that exist already: for tests, and for scoring recorded completions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from iapo.interfaces import Prompts, Sampler
from iapo.ops.checks import check_kinds
from iapo.rollout.collation import collate
from iapo.rollout.ends import style_of
from iapo.rollout.prompts import encode, encode_prompts
from iapo.rollout.stopping import Ending, endings, stop_texts
from iapo.styles import CompletionStyle
from iapo.types import Rollout

Text = str | Sequence[int]
"""A text, or its token ids."""


@dataclass(frozen=True, eq=False)
class ScriptedSampler(Sampler):
    """Returns given completions: the first ``group_size`` of each prompt.

    It has no state: the same prompt gets the same completions at every call. There are no ``sampler_logprobs``.

    Args:
        completions: the completions of each prompt, as texts or token ids, by prompt (a text, or a tuple of token ids);
            or a function of the prompt and an index below ``group_size`` that returns one.
        tokenizer: encodes texts, prompts as `iapo.rollout.prompts.encode_prompts` does, and finds the spans. May be
            ``None`` if everything is token ids; then the whole completion is reasoning (see
            `iapo.rollout.collation.collate`).
        append_eos: end each completion with the tokenizer's end-of-sequence token, unless it ends with it already.
        style: how the completions reason and answer; ``None``: `iapo.styles.USUAL_STYLE`.
        stop: texts at which a completion is cut, as a language model's sampler ends it there: one, or several.

    Raises:
        ValueError: ``append_eos`` without an end-of-sequence token, ``stop`` without a tokenizer, or an empty stop
            text; on a call, a prompt with fewer completions than asked for, or a text without a tokenizer.

    Example:
        >>> sampler = ScriptedSampler({(1, 2): [[5, 6, 7], [8]]})
        >>> sampler([[1, 2]], group_size=2).completion_mask.tolist()
        [[True, True, True], [True, False, False]]
    """

    completions: Mapping[Text, Sequence[Text]] | Callable[[Text, int], Text]
    tokenizer: PreTrainedTokenizerBase | None = None
    append_eos: bool = False
    style: CompletionStyle | None = None
    stop: str | tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_kinds(self)
        object.__setattr__(self, "stop", stop_texts(self.stop))
        if self.stop and self.tokenizer is None:
            raise ValueError("stop: got texts, but there is no tokenizer to find them with")
        if self.append_eos and self._eos_id is None:
            raise ValueError("append_eos: got True, but there is no tokenizer with an end-of-sequence token")

    def sample(self, prompts: Prompts, group_size: int) -> Rollout:
        """The completions of each prompt, one prompt after the other."""
        prompt_ids = encode_prompts(prompts, self.tokenizer)
        rows = [self._complete(prompt, index) for prompt in prompts for index in range(group_size)]
        ends: list[Ending] | None = None
        if self.stop and self.tokenizer is not None:
            ends = endings(self.tokenizer, rows, () if self._eos_id is None else (self._eos_id,), stop_texts(self.stop))
            rows = [row[: end.length] for row, end in zip(rows, ends, strict=True)]
        pad_id = self.tokenizer.pad_token_id if self.tokenizer is not None else None
        return collate(
            prompt_ids=[ids for ids in prompt_ids for _ in range(group_size)],
            completion_ids=rows,
            group_ids=[group for group in range(len(prompts)) for _ in range(group_size)],
            pad_id=0 if pad_id is None else pad_id,
            tokenizer=self.tokenizer,
            style=style_of(self),
            finished=None if ends is None else [end.finished for end in ends],
            unread=None if ends is None else [end.unread for end in ends],
        )

    @property
    def _eos_id(self) -> int | None:
        return None if self.tokenizer is None else self.tokenizer.eos_token_id

    def _complete(self, prompt: Text, index: int) -> list[int]:
        if isinstance(self.completions, Mapping):
            found = self.completions.get(prompt if isinstance(prompt, str) else tuple(prompt), ())
            if index >= len(found):
                raise ValueError(f"completions: prompt {prompt!r} has {len(found)}, want at least {index + 1}")
            completion = found[index]
        else:
            completion = self.completions(prompt, index)
        ids = encode(completion, self.tokenizer, f"completions of prompt {prompt!r}")
        if self.append_eos and self._eos_id is not None and ids[-1:] != [self._eos_id]:
            ids.append(self._eos_id)
        return ids

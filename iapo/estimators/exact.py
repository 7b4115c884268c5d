"""Exact information, by enumerating every continuation of every prefix; for models small enough to do so."""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iapo.estimators.monte_carlo import measure_sign
from iapo.estimators.packed import needed_probes
from iapo.interfaces import MIEstimator
from iapo.ops.checks import check_integer, check_kinds
from iapo.ops.padding import unpad_rows
from iapo.policy.forward import inference_mode, text_config
from iapo.policy.support import check_length
from iapo.types import Rollout

Ids = tuple[int, ...]


@dataclass(frozen=True)
class ExactInformation(MIEstimator):
    """Information by enumerating every way in which the policy can go on: exact, for tiny models.

    ``p_t(y)`` is the total probability of the continuations of prompt and the first ``t`` completion tokens whose whole
    completion has the answer ``y``. With ``measure="entropy"``, ``s_t = H_t - H_{t+1}`` with
    ``H_t = -sum_y p_t(y) log p_t(y)``; with ``measure="likelihood"``, ``s_t = log p_{t+1}(y) - log p_t(y)``, ``y`` the
    answer of the row's own completion.

    *What it estimates.* ``I(y; o_t | q, o_<t)`` of the policy that samples at temperature 1, in nats, float64: in
    expectation over ``o_t`` from the policy (for the likelihood: over the whole completion) it is that, to rounding. A
    single value may be negative.

    *Bias.* None; ``None``, no answer, is an outcome like any other in the entropy.

    *Degenerate cases.* An empty reasoning span gives 0; so does, for the likelihood, a row whose completion has no
    answer. A prefix that has ended has its own answer with probability 1.

    Args:
        answer_of: reads the answer from the tokens of a whole completion, end of sequence included; ``None``: there is
            none.
        eos_id: the token with which a completion ends.
        max_new_tokens: the length at which a completion is cut, in tokens, those of the prefix included.
        measure: ``"entropy"`` or ``"likelihood"``; decides `information_sign`.
        max_sequences: the most continuations of a prefix that are enumerated.

    Raises:
        ValueError: a number outside its range; on a call, more continuations than ``max_sequences``, a probed prefix
            longer than ``max_new_tokens``, ``eos_id`` outside the vocabulary, or an empty prompt.
        FloatingPointError: on a call, for the likelihood, an answer that the model rules out.

    Example:
        >>> from iapo.rollout import ScriptedSampler
        >>> from iapo.testing.tabular import TabularLanguageModel
        >>> model = TabularLanguageModel(vocab_size=2, order=1, scale=0.0)
        >>> rollout = ScriptedSampler({(1,): [[1, 1]]})([[1]], group_size=1)
        >>> ExactInformation(answer_of=lambda ids: ids[-1], eos_id=0, max_new_tokens=2)(model, rollout)
        tensor([[-0.1308,  0.6931]], dtype=torch.float64)

    References:
        IAPO, arXiv 2602.19049 (``s_t``); Cover and Thomas, Elements of Information Theory, chapter 2.
    """

    answer_of: Callable[[Ids], Hashable | None]
    eos_id: int
    max_new_tokens: int
    measure: Literal["entropy", "likelihood"] = "entropy"
    max_sequences: int = 2**16

    reads_answer = False

    def __post_init__(self) -> None:
        check_kinds(self)
        object.__setattr__(self, "information_sign", measure_sign(self.measure))
        for name, least in (("eos_id", 0), ("max_new_tokens", 1), ("max_sequences", 1)):
            check_integer(name, getattr(self, name), least)

    def probe(self, model: nn.Module, rollout: Rollout) -> Float[Tensor, "batch probe"]:
        """``H_t`` or ``log p_t(y)`` in nats, float64, at every probe that a difference will read, 0 elsewhere."""
        at = needed_probes(rollout)
        values = torch.zeros(at.shape, dtype=torch.float64, device=at.device)
        completions = [tuple(ids) for ids in unpad_rows(rollout.completion_ids, rollout.completion_mask)]
        prompts = [tuple(ids) for ids in unpad_rows(rollout.prompt_ids, rollout.prompt_mask)]
        where = at.nonzero().tolist()
        self._check(model, [(prompts[row], completions[row][:probe]) for row, probe in where])
        found: dict[tuple[Ids, Ids], Mapping[Hashable, float]] = {}
        with inference_mode(model):
            for row, probe in where:
                key = (prompts[row], completions[row][:probe])
                if key not in found:
                    found[key] = self.distribution(model, *key)
                values[row, probe] = self._value(found[key], completions[row])
        return values

    def distribution(self, model: nn.Module, prompt: Ids, prefix: Ids) -> Mapping[Hashable, float]:
        """The probability of every answer after a prompt and the first tokens of a completion."""
        probabilities: defaultdict[Hashable, float] = defaultdict(float)
        for completion, logp in continuations(model, prompt, prefix, self.eos_id, self.max_new_tokens):
            probabilities[self.answer_of(completion)] += math.exp(logp)
        return probabilities

    def _value(self, probabilities: Mapping[Hashable, float], completion: Ids) -> float:
        if self.measure == "entropy":
            return -sum(p * math.log(p) for p in probabilities.values() if p > 0)
        answer = self.answer_of(completion)
        p = 1.0 if answer is None else probabilities.get(answer, 0.0)
        return math.log(p) if p > 0 else -math.inf

    def _check(self, model: nn.Module, prefixes: list[tuple[Ids, Ids]]) -> None:
        vocab = text_config(model).vocab_size
        if self.eos_id >= vocab:
            raise ValueError(f"eos_id: got {self.eos_id}, the vocabulary has {vocab} tokens")
        if any(not prompt for prompt, _ in prefixes):
            raise ValueError("rollout.prompt_ids: a row has no prompt token, want at least one")
        longest = max((len(prefix) for _, prefix in prefixes), default=0)
        if longest > self.max_new_tokens:
            raise ValueError(f"max_new_tokens: got {self.max_new_tokens}, a prefix has {longest} tokens")
        asked = max((len(prompt) for prompt, _ in prefixes), default=0) + self.max_new_tokens - 1
        check_length(text_config(model), asked)  # nothing is read behind the last token
        shortest = min((len(prefix) for _, prefix in prefixes if self.eos_id not in prefix), default=None)
        if shortest is None:
            return
        # Ended after i further tokens: (vocab - 1)^(i - 1) ways; cut at the limit: (vocab - 1)^left.
        count = sum((vocab - 1) ** steps for steps in range(self.max_new_tokens - shortest + 1))
        if count > self.max_sequences:
            raise ValueError(
                f"max_sequences: a prefix of {shortest} tokens has {count} continuations of up to "
                f"{self.max_new_tokens - shortest} tokens, more than {self.max_sequences}; probe later, cut "
                "completions earlier, or sample (MonteCarloInformation)"
            )


def continuations(
    model: nn.Module, prompt: Ids, prefix: Ids, eos_id: int, max_new_tokens: int
) -> list[tuple[Ids, float]]:
    """Every completion that begins with ``prefix``, and its log-probability given ``prompt`` and ``prefix``, nats.

    Completions end with their first ``eos_id`` or at ``max_new_tokens``. One forward per depth, float64 from its
    logits; call it in evaluation mode without gradients (`iapo.policy.forward.inference_mode`). The probabilities sum
    to 1.
    """
    if eos_id in prefix:
        return [(prefix, 0.0)]
    device = next(model.parameters()).device
    ids = torch.tensor([[*prompt, *prefix]], device=device)
    logp = torch.zeros(1, dtype=torch.float64, device=device)
    ended: list[tuple[Ids, float]] = []

    def keep(ids: Tensor, logp: Tensor) -> None:
        rows = ids[:, len(prompt) :].tolist()
        ended.extend((tuple(row), value) for row, value in zip(rows, logp.tolist(), strict=True))

    for _ in range(max_new_tokens - len(prefix)):
        if len(ids) == 0:
            break
        logits = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            position_ids=torch.arange(ids.shape[1], device=device).expand_as(ids),
            use_cache=False,
            logits_to_keep=1,
        ).logits[:, -1]
        vocab = logits.shape[-1]
        tokens = torch.arange(vocab, device=device).repeat(len(ids))[:, None]
        ids = torch.cat([ids.repeat_interleave(vocab, 0), tokens], 1)
        logp = (logp[:, None] + logits.double().log_softmax(-1)).flatten()
        stop = tokens[:, 0] == eos_id
        keep(ids[stop], logp[stop])
        ids, logp = ids[~stop], logp[~stop]
    keep(ids, logp)
    return ended

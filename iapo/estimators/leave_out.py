"""What follows a span of the reasoning, likelihood with the span less likelihood without it."""

import warnings
from dataclasses import dataclass, field

import torch
from einops import repeat
from jaxtyping import Float, Int
from torch import Tensor, nn

from iapo.estimators.boundaries import Boundaries, boundaries_of
from iapo.estimators.packed import (
    MAX_LOGITS,
    Block,
    CheckedModels,
    PrefixCache,
    check_chunk,
    fill_cache_and_score,
    packable_attention,
    run_blocks,
)
from iapo.estimators.spans import SpanRuns, runs_of_spans
from iapo.interfaces import MIEstimator
from iapo.ops.checks import check_integer, check_kinds
from iapo.policy.forward import inference_mode, text_config
from iapo.policy.logprobs import check_prompts, check_temperature, texts_of, token_logprobs
from iapo.policy.ranks import all_reduce_max
from iapo.types import Rollout

_GUARD_TOKENS = 8
"""How many tokens are appended to prefixes when it is checked that a model honors packed masks."""
_MAX_ROWS = 8
"""The most rows of a packed forward. Every row is padded to the number of runs of the row that has the most."""
_MIN_ROWS_TO_WARN = 8
"""The fewest completions with reasoning of which it is worth a warning that most of them are a single span."""
_MIN_LENGTH_RATIO = 0.7
"""The blocks of one packed forward are padded to the longest. The shortest has at least this share of its tokens."""


@dataclass(frozen=True)
class LeaveOut(MIEstimator):
    """What a span of the reasoning is worth to the text behind it: how much likelier it makes that text.

    For the tokens ``a`` to ``e - 1`` of a completion,

    ``N(a, e) = log p(o_>=e | q, o_<e) - log p(o_>=e | q, o_<a)``,

    where ``o_>=e`` is the rest of the completion (the reasoning that follows, the answer, the end of the sequence), or
    the ``window`` spans that follow, or the first ``tokens`` of these. ``N`` is measured for every span between
    neighboring boundaries, and for every run of up to ``runs`` neighboring spans. Each token gets the smallest ``N`` of
    the runs that hold it: what all of that run is worth, not a share of it. A rule that cuts a superfluous piece in two
    makes each half necessary for the other, while the two together are not missed.

    *What it estimates.* The pointwise mutual information, in nats, of the span and the rest of the completion given
    the text before the span, ``log p(rest | before, span) / p(rest | before)``, with the model's probability of
    the rest right behind ``before`` in the place of the marginal ``p(rest | before) = sum_span p(span | before)
    p(rest | before, span)``. It asks for no answer, so it needs no postfix, and measures wrong completions as well.

    *Bias.* The marginal also counts the continuations in which the policy writes the span after all, so that ``N`` is
    the information only as far as the policy can go on without the span. Where the rest repeats what the span says, it
    is high, whether or not the answer needs it: text that is needed by superfluous text only passes for necessary
    (``runs`` is the cure where they are neighbors). Where two spans say the same, each is superfluous as long as the
    other is there, so that the first and the second copy both have a small ``N``. A span that makes the rest less
    likely, as filler does, has a negative one.

    *Additivity.* ``N`` of a run is not the sum over its spans: ``N(a, e) = N'(a, b) + N(b, e)``, where ``N'`` counts
    the rest behind ``e`` only, in the text without the tokens ``b`` to ``e - 1``.

    *Degenerate cases.* A span behind which nothing follows, and one that the model ignores, has 0; an empty
    reasoning span gives 0. Without a boundary inside, the reasoning is one span.

    *Cost.* One forward over prompts and completions, and for each run one copy of the rest of the completion, or of
    ``window`` spans, in packed forwards: with a window, ``runs * window`` times the tokens that the completions have,
    whatever the length of a span. With ``tokens`` it is at most ``runs * tokens`` by the length of a span: for lines of
    24 tokens, ``runs=1`` and ``tokens=8`` add a third to the forward over the completions, where the default adds six.

    Args:
        boundaries: where spans begin and end: `TextBoundaries` for lines and sentences, `EveryTokens`,
            `StepBoundaries`, `ClassBoundaries`.
        window: how many spans behind the run count; ``None``: all of the rest. Where fewer follow, all of the rest
            counts, the answer included.
        runs: spans of the longest run that is left out together.
        tokens: the most tokens behind the run that count; ``None``: all of the window. A limit keeps long completions
            cheap and bounds the memory whatever the spans are, but tells needed from useless spans less well: with
            ``runs=1`` and a window of three, AUROC on lines of GSM8K falls from 0.82 to 0.70 with 16 tokens and to 0.60
            with 8; on the embedded task from 0.94 to 0.93 with 8.
        chunk: runs of a row per packed forward; ``None``: chosen from the memory there is, halved if it was too little.
        guard: compare the packed with the naive forward the first time a model is seen, and again whenever texts are
            more than twice as long as those compared.
        temperature: logits are divided by it; use the sampler's.

    Raises:
        TypeError: ``boundaries`` that are none.
        ValueError: ``window``, ``runs``, ``tokens`` or ``chunk`` below 1, ``temperature`` not positive and finite; on a
            call, boundaries of another shape, or a row without a prompt.
        iapo.policy.forward.UnsupportedModelError: on a call, for a model whose attention cannot honor the mask.

    References:
        Leaving text out to see what it is worth is old (occlusion, Zeiler and Fergus, arXiv 1311.2901); of spans of
        reasoning, by the likelihood of what the policy wrote behind them, in packed forwards, it is this library's own.
    """

    boundaries: Boundaries
    window: int | None = 3
    runs: int = 2
    tokens: int | None = None
    chunk: int | None = None
    guard: bool = True
    temperature: float = 1.0
    _checked: CheckedModels = field(default_factory=CheckedModels, init=False, repr=False, compare=False)

    reads_answer = False

    def __post_init__(self) -> None:
        check_kinds(self)
        check_integer("window", self.window, or_none=True)
        check_integer("runs", self.runs)
        check_integer("tokens", self.tokens, or_none=True)
        check_chunk(self.chunk)
        check_temperature(self.temperature)

    @property
    def probe_label(self) -> str:
        """A running sum of what could not have been left out."""
        return "sum of log p(rest | with) - log p(rest | without), nats"

    def probe(self, model: nn.Module, rollout: Rollout) -> Float[Tensor, "batch probe"]:
        """The running sum, in float64, of what the tokens before each position have; its differences are the values."""
        runs = self.find_runs(rollout)
        token = rollout.completion_ids.shape[1]
        values = runs.smallest(self.measure(model, rollout, runs), token)
        return nn.functional.pad(values.double().cumsum(1), (1, 0))

    def find_runs(self, rollout: Rollout) -> SpanRuns:
        """The runs of spans that are left out, one after the other.

        Raises:
            TypeError, ValueError: boundaries as `iapo.estimators.boundaries.boundaries_of` refuses them.
        """
        found = boundaries_of(self.boundaries, rollout)
        runs = runs_of_spans(rollout.reasoning_mask, found, self.runs, self.window)
        reasoned, whole = int(runs.real.any(1).sum()), int((runs.real.sum(1) == 1).sum())
        if reasoned >= _MIN_ROWS_TO_WARN and 2 * whole > reasoned:
            warnings.warn(
                f"LeaveOut: {whole} of {reasoned} reasonings are one span each, as {type(self.boundaries).__name__} "
                "finds no boundary inside, so all their tokens are worth the same; want boundaries that cut them, such "
                "as TextBoundaries with other steps, or EveryTokens(16)",
                stacklevel=2,
            )
        return runs

    def measure(self, model: nn.Module, rollout: Rollout, runs: SpanRuns) -> Float[Tensor, "batch run"]:
        """``N`` of each run, nats; 0 at padding.

        Args:
            model: a causal language model, possibly wrapped.
            rollout: the completions.
            runs: of `find_runs`, or others.
        """
        rest = self._rest(rollout, runs)
        dtype = torch.promote_types(next(model.parameters()).dtype, torch.float32)
        values = torch.zeros(runs.begins.shape, device=rest.device, dtype=dtype)
        longest = all_reduce_max(int(rest.max()) if rest.numel() else 0, model)
        if longest == 0:
            return values
        check_prompts(rollout)
        if self.guard:
            self._checked.check(model, rollout, rollout.completion_ids[:, :_GUARD_TOKENS])
        # Rows that need similar amounts of text go together: few at once, no more than one block's logits each allow.
        vocab = text_config(model).vocab_size
        order = rest.sum(1).argsort(descending=True, stable=True)
        parts = list(order.split(max(1, min(_MAX_ROWS, MAX_LOGITS // (longest * vocab)))))
        for rows in [*parts, *parts[-1:] * (all_reduce_max(len(parts), model) - len(parts))]:
            values[rows] = self._measure(model, rollout.select(rows), runs.select(rows)).to(dtype)
        return values

    def _measure(self, model: nn.Module, rollout: Rollout, runs: SpanRuns) -> Float[Tensor, "batch run"]:
        """`measure` of few rows."""
        with packable_attention(model), inference_mode(model):
            cache, natural = fill_cache_and_score(model, rollout, self.temperature)
        # Longest rest first; a row with fewer runs repeats one that counts nowhere.
        rest, order = self._rest(rollout, runs).sort(dim=1, descending=True, stable=True)
        begins, ends = runs.begins.gather(1, order), runs.ends.gather(1, order)
        total = nn.functional.pad(natural.double().cumsum(1), (1, 0))
        with_span = total.gather(1, ends + rest) - total.gather(1, ends)
        without = torch.zeros_like(with_span)
        groups = group_by_size(rest.amax(0).tolist(), _MIN_LENGTH_RATIO)
        for columns in [*groups, *groups[-1:] * (all_reduce_max(len(groups), model) - len(groups))]:
            part = slice(columns.start, columns.stop)
            without[:, part] = self._without(model, rollout, begins[:, part], ends[:, part], rest[:, part], cache)
        return torch.zeros_like(without).scatter(1, order, with_span - without)

    def _without(
        self,
        model: nn.Module,
        rollout: Rollout,
        begins: Int[Tensor, "batch run"],
        ends: Int[Tensor, "batch run"],
        lengths: Int[Tensor, "batch run"],
        cache: PrefixCache,
    ) -> Float[Tensor, "batch run"]:
        """Log-likelihood of ``lengths`` tokens from ``ends`` on, right behind the first ``begins`` tokens."""
        texts = texts_of(rollout)[0][:, rollout.prompt_ids.shape[1] - 1 :]  # from the last token of the prompt on
        steps = torch.arange(max(1, int(lengths.max())), device=lengths.device)
        targets = _gathered(texts[:, 1:], ends[:, :, None] + steps)
        # The last token before the span stands in the block, not in the cache: it predicts the first one behind it.
        ids = torch.cat([_gathered(texts, begins[:, :, None]), targets[:, :, :-1]], 2)
        counts = steps < lengths[:, :, None]

        def likelihood(logits: Tensor, columns: Tensor) -> Tensor:
            values = token_logprobs(logits, targets[:, columns], self.temperature)
            return values.double().masked_fill(~counts[:, columns], 0).sum(-1)

        block = Block.chain(ids, len(steps), lengths)
        return run_blocks(model, rollout, block, likelihood, begins - 1, self.chunk, cache)

    def _rest(self, rollout: Rollout, runs: SpanRuns) -> Int[Tensor, "batch run"]:
        """Tokens behind each run that count; 0 at padding."""
        rest = runs.stops.clamp(max=rollout.completion_lengths[:, None]) - runs.ends
        rest = rest if self.tokens is None else rest.clamp(max=self.tokens)
        return rest.masked_fill(~runs.real, 0)


def group_by_size(sizes: list[int], ratio: float) -> list[range]:
    """Group sizes, sorted from large to small, so that those of a group differ little.

    Args:
        sizes: from large to small. Sizes of 0 are in no group.
        ratio: the smallest size of a group is at least this share of its largest; between 0 and 1.

    Returns:
        The indices of each group, at least one group: if all sizes are 0, that of the first size alone.

    Example:
        >>> group_by_size([9, 8, 7, 4, 3, 1, 0], ratio=0.7)
        [range(0, 3), range(3, 5), range(5, 6)]
    """
    groups: list[range] = []
    for index, size in enumerate(sizes):
        if size == 0:
            break
        if groups and size >= ratio * sizes[groups[-1].start]:
            groups[-1] = range(groups[-1].start, index + 1)
        else:
            groups.append(range(index, index + 1))
    return groups or [range(1)]


def _gathered(ids: Int[Tensor, "batch token"], places: Int[Tensor, "batch run step"]) -> Int[Tensor, "batch run step"]:
    """The tokens at ``places``; the last one where a place is beyond it."""
    wide = repeat(ids, "batch token -> batch run token", run=places.shape[1])
    return wide.gather(2, places.clamp(max=ids.shape[1] - 1))

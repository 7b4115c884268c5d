"""What is measured of spans: how well scores tell them apart, what is lost without them, and what scores cost."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache
from use_cases import Case

from iapo.embedded import parse_answer, parse_prompt
from iapo.estimators.packed.matmul import fast_matmul
from iapo.policy.forward import cache_argument, inference_mode
from iapo.policy.logprobs import token_logprobs
from iapo.rollout import CompactingSampler

Signal = Callable[[Case], Tensor]
"""A case to the scores of its spans."""


def auroc(scores: Tensor, positive: Tensor, negative: Tensor, groups: Tensor, draws: int = 1000) -> tuple[float, ...]:
    """How often a positive span has more than a negative one, ties half; with the 95% interval over problems.

    Args:
        scores: of the spans.
        positive: which count as positive.
        negative: which count as negative.
        groups: the problem of each span; problems are what is drawn again.
        draws: of the bootstrap.

    Returns:
        The value, and the lower and upper end of its interval; NaN without spans of either kind.
    """
    above, below = scores[positive, None], scores[None, negative]
    wins = (above > below).double() + (above == below).double() / 2
    own = torch.nn.functional.one_hot(groups, int(groups.max()) + 1).double()
    by_problem = own[positive].T @ wins @ own[negative]
    pairs = own[positive].sum(0)[:, None] * own[negative].sum(0)
    real = own.any(0).nonzero().flatten()
    chosen = real[torch.randint(len(real), (draws, len(real)), generator=torch.Generator().manual_seed(0))]
    times = torch.nn.functional.one_hot(chosen, own.shape[1]).double().sum(1)
    drawn = [torch.einsum("di,ij,dj->d", times, matrix, times) for matrix in (by_problem, pairs)]
    low, high = (drawn[0] / drawn[1]).nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return float(by_problem.sum() / pairs.sum()), low, high


@dataclass(frozen=True)
class Losses:
    """What each token behind a run of up to two spans loses when the run is left out, nats, of one completion.

    Args:
        begins: the first token of each span.
        ends: the token behind each span.
        runs: by first span and number of spans, ``log p(token | all before) - log p(token | all before but the run)``
            of each token behind the run.
    """

    begins: list[int]
    ends: list[int]
    runs: dict[tuple[int, int], Tensor]

    def smallest(self, value: Callable[[tuple[int, int]], float], longest: int) -> Tensor:
        """For each span the smallest value of the runs of up to ``longest`` spans that hold it."""
        found = torch.full((len(self.begins),), torch.inf, dtype=torch.float64)
        for first, count in self.runs:
            if count <= longest:
                found[first : first + count] = found[first : first + count].clamp(max=value((first, count)))
        return found

    def leave_out(self, window: int | None, longest: int) -> Tensor:
        """`iapo.estimators.LeaveOut` of each span."""

        def value(run: tuple[int, int]) -> float:
            last = sum(run) - 1
            within = window is not None and last + window < len(self.ends)
            return float(self.runs[run][: self.ends[last + window] - self.ends[last] if within else None].sum())

        return self.smallest(value, longest)

    def drops(self) -> Tensor:
        """Of each span, what every later span loses without it, and last all behind the spans: ``[span, span + 1]``."""
        size = len(self.begins)
        found = torch.zeros(size, size + 1, dtype=torch.float64)
        for i in range(size):
            lost, stops = self.runs[i, 1], [end - self.ends[i] for end in self.ends]
            for j in range(i + 1, size):
                found[i, j] = lost[stops[j - 1] : stops[j]].sum()
            found[i, size] = lost[stops[-1] :].sum()
        return found


def losses(case: Case) -> list[Losses]:
    """Each run left out in a forward of its own, over the text behind it; spans are neighbors."""
    found = []
    for row, spans in enumerate(case.by_row):
        prompt = case.rollout.prompt_ids[row, case.rollout.prompt_mask[row]]
        text = case.rollout.completion_ids[row, case.rollout.completion_mask[row]]
        cache, runs = DynamicCache(), {}

        def logprobs(ids: Tensor, targets: Tensor, cache: DynamicCache = cache) -> Tensor:
            output = case.model(input_ids=ids[None], use_cache=True, **{cache_argument(case.model): cache})
            return token_logprobs(output.logits[0, -len(targets) - 1 : -1], targets).double()

        with inference_mode(case.model), fast_matmul(case.model):
            whole = logprobs(torch.cat([prompt, text]), text)
            for first in reversed(range(len(spans))):  # So that what a cut cache still holds is the completion's own.
                begin = spans[first].begin
                for count in range(1, min(2, len(spans) - first) + 1):
                    rest = text[spans[first + count - 1].end :]
                    cache.crop(len(prompt) + begin - 1 - cache.get_seq_length())
                    before = torch.cat([prompt, text])[len(prompt) + begin - 1, None]
                    runs[first, count] = whole[-len(rest) :] - logprobs(torch.cat([before, rest]), rest)
        found.append(Losses([span.begin for span in spans], [span.end for span in spans], runs))
    return found


def relevance(drops: Tensor, floor: float = 1.0) -> Tensor:
    """What flows back from the answer to each span and to the answer, whose relevance is 1, by the positive drops.

    ``r_i = sum_{j > i} r_j D_ij / (floor + sum_k D_kj)``, ``D`` the drops above 0: each text passes its relevance on to
    those that it would miss, in proportion; what misses less than ``floor`` nats keeps most of it.
    """
    parts, found = drops.clamp(min=0), torch.zeros(drops.shape[1], dtype=drops.dtype)
    found[-1] = 1
    for j in reversed(range(1, drops.shape[1])):
        column = parts[:j, j]
        found[:j] += found[j] * column / (floor + column.sum())
    return found


def accuracies(case: Case, pieces: list[tuple[int, int, int]], kept: int, samples: int, batch: int = 2048) -> Tensor:
    """Accuracy of the embedded policy that goes on from a completion without a piece of it.

    Args:
        case: of the embedded task.
        pieces: row, begin and end of what is left out.
        kept: tokens of the completion behind the piece that the policy goes on from; with none of them it may write
            the piece again.
        samples: continuations of each.
        batch: continuations drawn together.
    """
    rollout, begun, asked = case.rollout, [], []
    for row, begin, end in pieces:
        text = rollout.completion_ids[row, : int(rollout.completion_lengths[row]) - 1].tolist()
        begun.append(text[:begin] + text[end : end + kept])
        asked.append(rollout.prompt_ids[row, rollout.prompt_mask[row]].tolist())
    prompts = [a + b for a, b in zip(asked, begun, strict=True)]
    sampled = CompactingSampler(case.model, case.tokenizer, 128, max_batch=batch)(prompts, samples)
    answers = [parse_prompt(case.tokenizer.decode(ids)).answer for ids in asked]
    right = torch.zeros(len(pieces), dtype=torch.float64)
    texts = zip(sampled.group_ids.tolist(), sampled.completion_ids, sampled.completion_mask, strict=True)
    for index, ids, mask in texts:
        text = case.tokenizer.decode(begun[index] + ids[mask].tolist())
        right[index] += parse_answer(text) == answers[index]
    return right / samples


def seconds(case: Case, compared: dict[str, Signal], plain: Signal, repetitions: int) -> dict[str, float]:
    """Time of each signal by that of a plain forward before and behind it, over the same completions; the median."""

    def timed(signal: Signal) -> float:
        start = time.perf_counter()
        signal(case)
        return time.perf_counter() - start

    ratios: dict[str, list[float]] = {name: [] for name in compared}
    for signal in compared.values():
        signal(case)  # The guard's comparison, once per model.
    for _ in range(repetitions):
        for name, signal in compared.items():
            forwards = [timed(plain)]
            own = timed(signal)
            forwards.append(timed(plain))
            ratios[name].append(2 * own / sum(forwards))
            print(f"{name}: {ratios[name][-1]:.2f} of a forward", flush=True)
    return {name: statistics.median(each) for name, each in ratios.items()}

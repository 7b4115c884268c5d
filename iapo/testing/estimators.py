"""The contract of estimators: properties that every estimator of information has, whatever it estimates."""

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor, nn

from iapo.interfaces import MIEstimator
from iapo.testing.checks import Check, assert_close, for_all, run_checks, seeded
from iapo.testing.models import VOCAB, Wrapped, logits_in_fp32, tiny_llama, untouched
from iapo.testing.padding import other_padding
from iapo.testing.strategies import rollouts
from iapo.types import Rollout

_SEEDS = st.integers(0, 2**16)


def check_estimator(estimator: MIEstimator, **options: Any) -> dict[str, bool]:
    """Run every check of `EstimatorContract` that applies.

    Args:
        estimator: called many times, on small rollouts.
        options: fields of `EstimatorContract`.

    Returns:
        Whether each check applied, by name; all that did have passed.

    Raises:
        AssertionError: the estimator does not have a property; the message names it, the sizes and the difference.
        TypeError: ``estimator`` is no `iapo.MIEstimator`, or a class.

    Example:
        >>> from iapo.estimators import NoInformation
        >>> applied = check_estimator(NoInformation(), examples=3)
        >>> [name for name in applied if not applied[name]]
        ['chunk']
    """
    return run_checks(estimator, estimator_checks(**options), MIEstimator)


def estimator_checks(**options: Any) -> tuple[Check, ...]:
    """The checks of an estimator, each to be called with it. ``options``: fields of `EstimatorContract`."""
    return EstimatorContract(**options).checks()


@dataclass(frozen=True)
class EstimatorContract:
    """The properties of an `iapo.MIEstimator`.

    Torch's generators start at the same seed before each call, so that an estimator that samples is checked too, as far
    as a property means anything for it. Tolerances are absolute and relative.

    Args:
        model: copies of it are handed to the estimator; ``None``: `iapo.testing.tiny_llama` in fp64, so that no check
            depends on the order in which a processor adds, and in fp32 and bf16 where a check is about these.
        vocab: token ids of rollouts are below it.
        max_token: the most tokens of a completion.
        examples: rollouts tried, a check.
        tolerance: of the order of operations, and of fp32 against fp64 for each nat of the largest probe (but at least
            one); nats.
        bf16_tolerance: of a model in bf16 against the same weights in fp32; nats. Against the same logits in fp32 the
            bound is ``tolerance``.
        deterministic: ``False`` for an estimator that samples with torch's generators.
        causal: ``False`` for an estimator whose values for a token depend on later tokens, because it spreads
            information over an interval or reads the answer out of the completion.
        rows_independent: ``False`` for an estimator for which the rows of a group depend on each other: parts of a
            rollout then hold whole groups.
        zero_if_ignored: ``False`` for an estimator that does not ask the model for the answer behind a postfix, and
            so may credit tokens that do not reach the answer.
        zero_if_unread: ``False`` for an estimator that credits tokens although nothing that the model says depends on
            any text, because it has a model of its own.
    """

    model: nn.Module | None = None
    vocab: int = VOCAB
    max_token: int = 9
    examples: int = 10
    tolerance: float = 2e-5
    bf16_tolerance: float = 0.5
    deterministic: bool = True
    causal: bool = True
    rows_independent: bool = True
    zero_if_ignored: bool = True
    zero_if_unread: bool = True

    def checks(self) -> tuple[Check, ...]:
        """All of them, in the order in which they are best read."""

        def steady(_: object) -> bool:
            return self.deterministic

        unsampled = "an estimator that samples nothing (deterministic)"
        return (
            Check("shape", self.shape),
            Check("zero_outside_reasoning", self.zero_outside_reasoning),
            Check("telescoping", self.telescoping),
            Check("nothing_to_probe", self.nothing_to_probe),
            Check("repeatable", self.repeatable),
            Check("evaluation_mode", self.evaluation_mode),
            Check("model_untouched", self.model_untouched),
            Check("generator_untouched", self.generator_untouched, steady, unsampled),
            Check("wrapped_model", self.wrapped_model),
            Check("causality", self.causality, lambda _: self.deterministic and self.causal, "deterministic, causal"),
            Check("padding", self.padding, steady, unsampled),
            Check("batch_order", self.batch_order, steady, unsampled),
            Check("micro_batches", self.micro_batches, steady, unsampled),
            Check("chunk", self.chunk, self._has_chunk, "a dataclass with a field `chunk`, deterministic"),
            Check("float64", self.float64, steady, unsampled),
            Check("bfloat16", self.bfloat16, steady, unsampled),
            Check(
                "unread_answer",
                self.unread_answer,
                lambda estimator: self.deterministic and not estimator.reads_answer,
                "deterministic, reads_answer = False",
            ),
            Check(
                "unread_text",
                self.unread_text,
                lambda _: self.deterministic and self.zero_if_unread and self.model is None,
                "deterministic, zero_if_unread, and no model of one's own: all tokens of a llama get one embedding",
            ),
            Check(
                "ignored_tokens",
                self.ignored_tokens,
                lambda _: self.deterministic and self.zero_if_ignored and self.model is None,
                "deterministic, zero_if_ignored, and no model of one's own: attention is switched off in a llama",
            ),
        )

    def shape(self, estimator: MIEstimator) -> None:
        """Information has the completions' shape, in fp32 or better, without a gradient, on their device."""
        model = self._model()

        def holds(rollout: Rollout) -> None:
            found = self._information(estimator, model, rollout)
            want = tuple(rollout.completion_ids.shape)
            if tuple(found.shape) != want:
                raise AssertionError(f"want shape (batch, token) = {want}, got {tuple(found.shape)}")
            if found.dtype not in (torch.float32, torch.float64):
                raise AssertionError(f"want float32 or float64, got {found.dtype} for sizes {want}")
            if found.requires_grad:
                raise AssertionError(f"information of sizes {want} carries a gradient, want it detached")
            if found.device != next(model.parameters()).device:
                raise AssertionError(f"want the device of the model, got {found.device}")

        self._for_all(holds)

    def zero_outside_reasoning(self, estimator: MIEstimator) -> None:
        """Tokens outside the reasoning span have information exactly 0."""
        model = self._model()

        def holds(rollout: Rollout) -> None:
            outside = self._information(estimator, model, rollout).cpu().masked_fill(rollout.reasoning_mask, 0)
            assert_close("information outside reasoning_mask", outside, torch.zeros_like(outside), atol=0)

        self._for_all(holds)

    def telescoping(self, estimator: MIEstimator) -> None:
        """Over a run of reasoning tokens, information adds up to the signed difference of the probes at its ends."""
        model = self._model()

        def holds(rollout: Rollout) -> None:
            information = self._information(estimator, model, rollout).cpu()
            device = next(model.parameters()).device
            with seeded(device=device):
                probes = estimator.probe(model, rollout.to(device)).cpu()
            for row, begin, end in _spans(rollout):
                total = estimator.information_sign * (probes[row, end] - probes[row, begin])
                what = f"sum over tokens {begin} to {end - 1} of row {row}, sizes {tuple(information.shape)}"
                self._close(what, information[row, begin:end].sum(), total)

        self._for_all(holds)

    def nothing_to_probe(self, estimator: MIEstimator) -> None:
        """An empty reasoning span, in all rows, gives zeros."""
        model = self._model()

        def holds(rollout: Rollout) -> None:
            rollout = dataclasses.replace(rollout, reasoning_mask=torch.zeros_like(rollout.reasoning_mask))
            found = self._information(estimator, model, rollout)
            assert_close("information without a reasoning token", found, torch.zeros_like(found), atol=0)

        self._for_all(holds)

    def repeatable(self, estimator: MIEstimator) -> None:
        """Two calls give the same bits; for an estimator that samples, two calls from the same seed."""
        model = self._model()

        def holds(rollout: Rollout) -> None:
            first = self._information(estimator, model, rollout)
            assert_close("second call", self._information(estimator, model, rollout), first, atol=0)

        self._for_all(holds)

    def evaluation_mode(self, estimator: MIEstimator) -> None:
        """No layer of a model in training mode runs in training mode: dropout is off, caches work."""
        model, seen = self._model(), list[bool]()
        for module in model.modules():
            module.register_forward_pre_hook(lambda module, _: seen.append(module.training))

        def holds(rollout: Rollout) -> None:
            self._information(estimator, model.train(), rollout)
            if any(seen):
                sizes = tuple(rollout.completion_ids.shape)
                raise AssertionError(f"{sum(seen)} of {len(seen)} calls of layers ran in training mode, sizes {sizes}")

        self._for_all(holds)

    def model_untouched(self, estimator: MIEstimator) -> None:
        """Weights, gradients, training modes and settings of the model are left as they were."""
        model = self._model()

        def holds(rollout: Rollout) -> None:
            with untouched(model):
                self._information(estimator, model, rollout)

        self._for_all(holds)

    def generator_untouched(self, estimator: MIEstimator) -> None:
        """Torch's generator goes on as if the estimator had not been called."""
        model = self._model()

        def holds(rollout: Rollout) -> None:
            device = next(model.parameters()).device
            with seeded(device=device):
                expected = torch.rand(3)
            with seeded(device=device):
                estimator(model, rollout.to(device))
                found = torch.rand(3)
            assert_close("random numbers of torch after the call", found, expected, atol=0)

        self._for_all(holds)

    def wrapped_model(self, estimator: MIEstimator) -> None:
        """A model inside a wrapper such as DDP gives the same."""
        model = self._model()
        wrapped = Wrapped(model)

        def holds(rollout: Rollout) -> None:
            expected = self._information(estimator, model, rollout)
            self._close("with a wrapped model", self._information(estimator, wrapped, rollout), expected)

        self._for_all(holds)

    def causality(self, estimator: MIEstimator) -> None:
        """A token's information depends neither on later tokens nor on how many there are; the answer stays fixed."""
        model = self._model()

        def holds(rollout: Rollout, cut: int, seed: int) -> None:
            expected = self._information(estimator, model, rollout)[:, :cut]
            generator = torch.Generator().manual_seed(seed)
            ids = torch.randint(0, self.vocab, rollout.completion_ids.shape, generator=generator)
            ids[:, :cut] = rollout.completion_ids[:, :cut]
            early = torch.arange(ids.shape[1]) < cut
            changed = dataclasses.replace(rollout, completion_ids=ids)
            cut_off = dataclasses.replace(
                rollout,
                completion_mask=rollout.completion_mask & early,
                reasoning_mask=rollout.reasoning_mask & early,
            )
            for what, other in (("other tokens", changed), ("no tokens", cut_off)):
                found = self._information(estimator, model, other)[:, :cut]
                self._close(f"with {what} from {cut} on, information before", found, expected)

        self._for_all(holds, st.integers(0, self.max_token), _SEEDS)

    def padding(self, estimator: MIEstimator) -> None:
        """Width of padding on either side, and the ids that stand in masked slots, change nothing."""
        model = self._model()

        def holds(rollout: Rollout, left: int, right: int, seed: int) -> None:
            expected = self._information(estimator, model, rollout)
            found = self._information(estimator, model, other_padding(rollout, left, right, self.vocab, seed))
            width = expected.shape[1]
            self._close(f"with {left} more slots of padding left and {right} right", found[:, :width], expected)
            assert_close("information of more padding", found[:, width:], torch.zeros_like(found[:, width:]), atol=0)

        self._for_all(holds, st.integers(0, 3), st.integers(0, 3), _SEEDS)

    def batch_order(self, estimator: MIEstimator) -> None:
        """Rows in another order have the same information."""
        model = self._model()

        def holds(rollout: Rollout, seed: int) -> None:
            order = torch.randperm(len(rollout), generator=torch.Generator().manual_seed(seed))
            expected = self._information(estimator, model, rollout)[order]
            found = self._information(estimator, model, rollout.select(order))
            self._close(f"rows in the order {order.tolist()}", found, expected[:, : found.shape[1]])

        self._for_all(holds, _SEEDS)

    def micro_batches(self, estimator: MIEstimator) -> None:
        """Rows (or groups, where rows depend on each other) alone have the information that they have together."""
        model = self._model()

        def holds(rollout: Rollout) -> None:
            whole = self._information(estimator, model, rollout)
            parts = torch.arange(len(rollout)) if self.rows_independent else rollout.group_ids
            for part in parts.unique():
                rows = (parts == part).nonzero().flatten()
                found = self._information(estimator, model, rollout.select(rows))
                expected = whole[rows][:, : found.shape[1]]
                self._close(f"rows {rows.tolist()} of {len(rollout)} alone", found, expected)

        self._for_all(holds)

    def chunk(self, estimator: MIEstimator) -> None:
        """The size of the chunks in which it works changes nothing."""
        model = self._model()

        def holds(rollout: Rollout, chunk: int | None) -> None:
            expected = self._information(estimator, model, rollout)
            other = dataclasses.replace(estimator, chunk=chunk)  # type: ignore[type-var]
            self._close(f"with chunk={chunk}", self._information(other, model, rollout), expected)

        self._for_all(holds, st.one_of(st.none(), st.integers(1, 12)))

    def float64(self, estimator: MIEstimator) -> None:
        """A model in fp64 gives the same as in fp32, up to rounding, which grows with the size of the probes."""
        self._against(estimator, self._model().float(), self._model().double(), self.tolerance, by_size=True)

    def bfloat16(self, estimator: MIEstimator) -> None:
        """A model in bf16 gives the same as one with the same (rounded) weights in fp32, within ``bf16_tolerance``.

        And what the estimator makes of its logits is made in fp32: no other than of the same logits in fp32.
        """
        rounded = self._model().bfloat16()
        self._against(estimator, rounded, copy.deepcopy(rounded).float(), self.bf16_tolerance)
        wide = copy.deepcopy(rounded)
        wide.register_forward_hook(logits_in_fp32)

        def holds(rollout: Rollout) -> None:
            found, expected = (self._information(estimator, model, rollout) for model in (rounded, wide))
            self._close("torch.bfloat16 against the same logits in fp32", found, expected)

        self._for_all(holds)

    def unread_answer(self, estimator: MIEstimator) -> None:
        """Other answers in the rollout, and other texts that ask, change nothing, as ``reads_answer`` says."""
        model = self._model()

        def holds(rollout: Rollout, seed: int) -> None:
            expected = self._information(estimator, model, rollout)
            generator = torch.Generator().manual_seed(seed)
            rows = len(rollout)
            answers, exits = (torch.randint(0, self.vocab, (rows, width), generator=generator) for width in (2, 5))
            asked = dataclasses.replace(
                rollout,
                answer_ids=answers,
                answer_mask=torch.ones_like(answers, dtype=torch.bool),
                exit_ids=exits,
                exit_scored=(torch.arange(5) >= 3).expand(rows, 5),
            )
            found = self._information(estimator, model, asked)
            assert_close("with other answers, and reads_answer is False", found, expected, atol=0)

        self._for_all(holds, _SEEDS)

    def unread_text(self, estimator: MIEstimator) -> None:
        """Where what the model says depends on no text, every token has information 0."""
        model = tiny_llama(self.vocab, reads=False).double()

        def holds(rollout: Rollout) -> None:
            found = self._information(estimator, model, rollout)
            self._close("information of a text that the model does not read", found, torch.zeros_like(found))

        self._for_all(holds)

    def ignored_tokens(self, estimator: MIEstimator) -> None:
        """Tokens that cannot reach the answer, because attention is off, have information 0."""
        model = tiny_llama(self.vocab, attends=False).double()

        def holds(rollout: Rollout) -> None:
            found = self._information(estimator, model, rollout)
            self._close("information of tokens that the model ignores", found, torch.zeros_like(found))

        self._for_all(holds)

    def _has_chunk(self, estimator: MIEstimator) -> bool:
        names: list[str] = (
            [field.name for field in dataclasses.fields(estimator)] if dataclasses.is_dataclass(estimator) else []
        )
        return self.deterministic and "chunk" in names

    def _model(self) -> nn.Module:
        return tiny_llama(self.vocab).double() if self.model is None else copy.deepcopy(self.model).eval()

    def _information(self, estimator: MIEstimator, model: nn.Module, rollout: Rollout) -> Float[Tensor, "batch token"]:
        device = next(model.parameters()).device
        with seeded(device=device):
            return estimator(model, rollout.to(device))

    def _largest_probe(self, estimator: MIEstimator, model: nn.Module, rollout: Rollout) -> float:
        """In nats, but at least 1."""
        device = next(model.parameters()).device
        with seeded(device=device):
            probes = estimator.probe(model, rollout.to(device))
        return max(1.0, float(probes.abs().max())) if probes.numel() else 1.0

    def _against(
        self, estimator: MIEstimator, one: nn.Module, other: nn.Module, tolerance: float, by_size: bool = False
    ) -> None:
        dtypes = " against ".join(str(next(model.parameters()).dtype) for model in (one, other))

        def holds(rollout: Rollout) -> None:
            found, expected = (self._information(estimator, model, rollout) for model in (one, other))
            size = self._largest_probe(estimator, other, rollout) if by_size else 1.0
            assert_close(dtypes, found, expected, tolerance * size, self.tolerance)

        self._for_all(holds)

    def _close(self, what: str, found: Tensor, expected: Tensor) -> None:
        assert_close(what, found, expected, self.tolerance, self.tolerance)

    def _for_all(self, holds: Any, *more: st.SearchStrategy) -> None:
        for_all(self.examples, holds, rollouts(vocab=self.vocab, max_token=self.max_token), *more)


def _spans(rollout: Rollout) -> list[tuple[int, int, int]]:
    """Row, first token, and the one behind the last, of each run of the reasoning mask."""
    edges = nn.functional.pad(rollout.reasoning_mask.int(), (1, 1)).diff(dim=1)
    begins, ends = (edges == 1).nonzero().tolist(), (edges == -1).nonzero().tolist()
    return [(row, begin, end) for (row, begin), (_, end) in zip(begins, ends, strict=True)]

"""Calibrated forced answers: an adapter, fitted on the policy's own answers, that is active in probes only."""

import torch
from einops import repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.optim import Optimizer

from iapo.estimators.adapter import LowRankAdapter
from iapo.estimators.likelihood import AnswerLikelihood
from iapo.estimators.packed import (
    MAX_LOGITS,
    Block,
    PrefixCache,
    check_positions,
    fill_cache,
    longest_prefix,
    needed_probes,
    packable_attention,
    packed_logits,
)
from iapo.estimators.prefix_estimator import PrefixEstimator
from iapo.estimators.wrapping import WrappingEstimator
from iapo.ops.checks import check_integer, check_number
from iapo.policy.forward import UnsupportedModelError, inference_mode, sharded, unwrap
from iapo.policy.logprobs import token_logprobs
from iapo.policy.ranks import all_reduce_max
from iapo.types import Rollout


class Calibrated(WrappingEstimator, PrefixEstimator, nn.Module):
    """An estimator whose forced answers are calibrated by a small adapter; the policy is not touched.

    A policy that was never stopped early answers confidently and wrongly when it is. The adapter (`LowRankAdapter`) is
    in force in postfix and answer only: prompt and reasoning are read as the policy reads them, and its samples and
    log-probabilities do not change. `fit` lowers

    ``loss = -mean log p_adapted(y | q, o_<t)``

    over positions ``t`` of the reasoning, ``y`` the completion's own final answer. Its minimum is what the policy will
    answer, given what it has said so far: the distribution that `EarlyExitEntropy` and `AnswerLikelihood` ask for.

    *What it estimates.* As the wrapped estimator, of the policy's final answer in place of its forced one.

    *Bias.* An adapter that was fitted too little is too uncertain, and information appears too late. An adapter that
    was fitted on the very completions that are probed knows their answers and finds too little information: estimate
    first, then fit. Fitted on reference answers, it would learn those whatever the reasoning says.

    *Cost.* A call of `fit` takes ``steps`` times one forward over ``rows`` completions and one packed forward and
    backward at ``prefixes`` of their positions. Nothing is fitted anew: each update of the policy is followed by a few
    steps from where the adapter stands. Save `state_dict` (tensors only) and the optimizer's.

    *Several ranks.* `fit` does not communicate: each rank fits its adapter on its own rows. Start all from one
    state and share the adapter's weights after `fit`, or the ranks' estimators differ.

    *Degenerate cases.* Before `fit` was called, it equals the wrapped estimator. Rows without an answer are skipped.

    Args:
        likelihood: whose forced answer is fitted: its postfix, its closing tokens, at its temperature.
        model: the policy, possibly wrapped; its layers' sizes are read, it is not kept.
        estimator: what is probed under the adapter; ``None``: ``likelihood``.
        rank: of the adapter.

    Raises:
        ValueError: ``rank`` below 1; on a call, a model with other layers.

    Example:
        >>> from transformers import AutoModelForCausalLM
        >>> from iapo.embedded import model_path
        >>> model = AutoModelForCausalLM.from_pretrained(model_path())
        >>> estimator = Calibrated(AnswerLikelihood(postfix_ids=(5, 6), closing_ids=(7,)), model, rank=4)
        >>> optimizer = torch.optim.AdamW(estimator.parameters(), lr=1e-2, weight_decay=0.0)

    References:
        Early exit: IAPO, arXiv 2602.19049. Low-rank adapters: LoRA, arXiv 2106.09685. Fitting a probe on own answers
        is this library's own.
    """

    estimator: PrefixEstimator

    def __init__(
        self,
        likelihood: AnswerLikelihood,
        model: nn.Module,
        estimator: PrefixEstimator | None = None,
        rank: int = 8,
    ) -> None:
        nn.Module.__init__(self)
        self.likelihood = likelihood
        self.estimator = likelihood if estimator is None else estimator
        self.adapter = LowRankAdapter(model, rank)

    def probe_at(
        self,
        model: nn.Module,
        rollout: Rollout,
        at: Bool[Tensor, "batch probe"],
        cache: PrefixCache | None = None,
    ) -> Float[Tensor, "batch probe"]:
        """The wrapped estimator's value under the adapter after each prefix at ``at``, 0 elsewhere."""
        if not all_reduce_max(int(at.any()), model):
            return torch.zeros(at.shape, dtype=torch.float32, device=at.device)
        if cache is None:
            with packable_attention(model), inference_mode(model):
                cache = fill_cache(model, rollout, longest_prefix(at))
        with self.adapter.active(model):
            return self.estimator.probe_at(model, rollout, at, cache)

    def fit(
        self,
        model: nn.Module,
        rollout: Rollout,
        optimizer: Optimizer,
        steps: int = 4,
        rows: int = 64,
        prefixes: int = 8,
        max_grad_norm: float = 1.0,
    ) -> dict[str, float]:
        """Take a few optimizer steps towards the completions' own answers.

        Rows and positions are sampled with torch's global generator (on the CPU). Gradients are taken with respect to
        the adapter alone; the policy is run through the module inside its wrappers, so that DDP awaits none.

        Args:
            model: the policy.
            rollout: completions with their own answers in ``answer_ids``.
            optimizer: over ``self.parameters()``; it carries over from call to call.
            steps: optimizer steps, each on other rows as long as there are any.
            rows: completions of a step.
            prefixes: positions of each of them.
            max_grad_norm: the gradient is scaled down to this L2 norm.

        Returns:
            ``nll``: the loss before each step, nats, mean over the steps; ``grad_norm``: before scaling, likewise.
            Empty if no row has both an answer and reasoning.

        Raises:
            ValueError: a rollout without ``answer_ids``, ``steps``, ``rows`` or ``prefixes`` below 1, a
                ``max_grad_norm`` that is not positive and finite, or texts longer than the model's positions.
            UnsupportedModelError: a sharded policy (FSDP, ZeRO-3, tensor parallel), whose ranks would wait for each
                other.
            FloatingPointError: the loss or its gradient is not finite; the adapter keeps the last step's weights.
        """
        for name, value in (("steps", steps), ("rows", rows), ("prefixes", prefixes)):
            check_integer(name, value)
        check_number("max_grad_norm", max_grad_norm, "a positive number", lambda x: x > 0)
        if rollout.answer_mask is None:
            raise ValueError("rollout.answer_ids: want the completions' own answers, got None")
        if sharded(model):
            raise UnsupportedModelError(
                f"model: {type(model).__name__} is sharded, and Calibrated.fit runs on each rank alone; fit on a "
                "policy that every rank holds whole, or use the estimator without an adapter"
            )
        usable = (rollout.answer_mask.any(1) & rollout.reasoning_mask.any(1)).nonzero().flatten()
        if len(usable) == 0:
            return {}
        inner = unwrap(model)
        order = torch.cat([torch.randperm(len(usable)) for _ in range(-(-steps * rows // len(usable)))])
        losses, norms = [], []
        for step in range(steps):
            chosen = usable[order[step * rows : (step + 1) * rows].to(usable.device)]
            optimizer.zero_grad(set_to_none=True)
            loss = self._backward(inner, rollout.select(chosen), prefixes)
            norm = nn.utils.clip_grad_norm_(self.adapter.parameters(), max_grad_norm)
            if not bool((loss + norm).isfinite()):
                optimizer.zero_grad(set_to_none=True)
                raise FloatingPointError(f"Calibrated.fit: loss {loss.item()}, gradient norm {norm.item()}")
            optimizer.step()
            losses.append(loss.item())
            norms.append(norm.item())
        optimizer.zero_grad(set_to_none=True)
        return {"nll": sum(losses) / steps, "grad_norm": sum(norms) / steps}

    def _backward(self, model: nn.Module, rollout: Rollout, prefixes: int) -> Float[Tensor, ""]:
        """Negative log-likelihood of the answers at some positions of each row; its gradient goes to the adapter."""
        needed = needed_probes(rollout)
        at, counted = sample_prefixes(needed, prefixes)
        asked = self.likelihood.asked(rollout)
        asked.check(model)
        ids, targets, counts = asked.ids[:, :-1], asked.targets, asked.counts
        block = Block.chain(ids, kept=targets.shape[1])
        loss = torch.zeros((), dtype=torch.float32, device=at.device)
        with packable_attention(model) as config, inference_mode(model):
            # All positions, not those that happen to be sampled.
            longest = (needed * torch.arange(needed.shape[1], device=needed.device)).amax(1, keepdim=True)
            check_positions(config, rollout, longest, block)
            # As many rows at once as their logits allow, the mean over all of them.
            count = max(1, MAX_LOGITS // (at.shape[1] * targets.shape[1] * config.vocab_size))
            for start in range(0, len(at), count):
                rows = slice(start, start + count)
                part = rollout.select(rows)
                # A cache of its own for this forward: the block's keys, which carry a gradient, are written into it.
                cache = fill_cache(model, part, int(at[rows].max()))
                cache.reserve(at.shape[1] * ids.shape[1])
                with torch.enable_grad(), self.adapter.active(model):
                    logits = packed_logits(model, config, part, block.select(rows), cache, at[rows])
                    answers = repeat(targets[rows], "batch answer -> batch prefix answer", prefix=at.shape[1])
                    values = token_logprobs(logits, answers, self.likelihood.temperature)
                    values = values.masked_fill(~counts[rows, None], 0).sum(-1)
                    share = -values[counted[rows]].sum() / counted.sum()
                share.backward(inputs=list(self.adapter.parameters()))
                loss = loss + share.detach()
        return loss


def sample_prefixes(
    needed: Bool[Tensor, "batch probe"], count: int
) -> tuple[Int[Tensor, "batch prefix"], Bool[Tensor, "batch prefix"]]:
    """Up to ``count`` distinct needed probes of each row, sampled uniformly, and which of the entries are such."""
    keys = torch.rand(needed.shape, dtype=torch.float32).to(needed.device).masked_fill(~needed, -1)
    found = keys.topk(min(count, needed.shape[1]), dim=1)
    return torch.where(found.values >= 0, found.indices, 0), found.values >= 0

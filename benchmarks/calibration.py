"""What makes a forced answer mean what it says, without touching the policy? Ways of fitting it, side by side.

    OMP_NUM_THREADS=1 python benchmarks/calibration.py

The embedded model's completions of training problems are what is fitted on (the likelihood of a completion's own final
answer, forced at positions drawn from its reasoning), those of test problems are reported: every position of the
reasoning, the answer's digit. Learning rates were chosen on completions of validation problems, in steps of about 3.

- `none`: the policy, forced.
- `temperature`: logits divided by one fitted number.
- `head`: hidden states before the output layer get a low-rank linear (or two-layer) addition.
- `postfix`: the postfix's input embeddings are learned vectors in place of its tokens', or those and six more.
- `layers`: low-rank additions to every linear layer, in postfix and answer only (`iapo.estimators.Calibrated`).
- `copy`: a second model, all of it trained, that reads the policy's cache: what is the most that fitting can do?

NLL and entropy in nats. ECE: 15 bins of the forced answer's probability against whether it is the final one. AUROC: of
the entropy, telling forced answers that are not the final one from those that are. Prints Markdown.
"""

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer

from iapo import Rollout
from iapo.embedded import generate_problems, model_path
from iapo.estimators import AnswerLikelihood, Calibrated
from iapo.estimators.calibrated import sample_prefixes
from iapo.estimators.packed import Block, fill_cache, needed_probes, packable_attention, packed_logits
from iapo.policy.forward import inference_mode
from iapo.rollout import TransformersSampler

ROWS, PREFIXES = 64, 8


class Variant(nn.Module):
    """A way of asking: what runs over the block, with which hooks, and what becomes of the logits."""

    def __init__(self, policy: nn.Module, postfix: tuple[int, ...]) -> None:
        super().__init__()
        self.policy, self.postfix = [policy], postfix

    def answering(self) -> nn.Module:
        return self.policy[0]

    @contextmanager
    def active(self) -> Iterator[None]:
        yield

    def logits(self, rollout: Rollout, at: Tensor, grad: AbstractContextManager) -> Tensor:
        """Logits of the answer's first token after each prefix ``at``."""
        block = Block.chain(torch.tensor(self.postfix).expand(len(rollout), -1), kept=1)
        with packable_attention(self.policy[0]) as config, inference_mode(self.policy[0]):
            cache = fill_cache(self.policy[0], rollout, int(at.max()))
            cache.reserve(at.shape[1] * len(self.postfix))
            with grad, self.active():
                return packed_logits(self.answering(), config, rollout, block, cache, at)[:, :, 0]


class Temperature(Variant):
    def __init__(self, policy: nn.Module, postfix: tuple[int, ...]) -> None:
        super().__init__(policy, postfix)
        self.log = nn.Parameter(torch.zeros(()))

    def logits(self, rollout: Rollout, at: Tensor, grad: AbstractContextManager) -> Tensor:
        return super().logits(rollout, at, nullcontext()) / self.log.exp()


class Head(Variant):
    def __init__(self, policy: nn.Module, postfix: tuple[int, ...], rank: int, bend: bool) -> None:
        super().__init__(policy, postfix)
        size = policy.config.hidden_size
        self.down, self.up = nn.Linear(size, rank), nn.Linear(rank, size)
        self.bend = F.silu if bend else nn.Identity()
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    @contextmanager
    def active(self) -> Iterator[None]:
        hook = (
            self.policy[0]
            .get_output_embeddings()
            .register_forward_pre_hook(lambda _, inputs: (inputs[0] + self.up(self.bend(self.down(inputs[0]))),))
        )
        try:
            yield
        finally:
            hook.remove()


class Postfix(Variant):
    def __init__(self, policy: nn.Module, postfix: tuple[int, ...], more: int) -> None:
        super().__init__(policy, (postfix[0],) * more + postfix)
        self.vectors = nn.Parameter(policy.get_input_embeddings().weight[list(self.postfix)].detach().clone())

    @contextmanager
    def active(self) -> Iterator[None]:
        hook = (
            self.policy[0]
            .get_input_embeddings()
            .register_forward_hook(
                lambda _, inputs, output: self.vectors.repeat(output.shape[1] // len(self.postfix), 1).expand_as(output)
            )
        )
        try:
            yield
        finally:
            hook.remove()


class Layers(Variant):
    def __init__(self, policy: nn.Module, postfix: tuple[int, ...], rank: int) -> None:
        super().__init__(policy, postfix)
        self.calibrated = Calibrated(AnswerLikelihood(postfix), policy, rank=rank)

    def active(self) -> AbstractContextManager[None]:
        return self.calibrated.adapter.active(self.policy[0])


class Copy(Variant):
    def __init__(self, policy: nn.Module, postfix: tuple[int, ...]) -> None:
        super().__init__(policy, postfix)
        self.copy = copy.deepcopy(policy)

    def answering(self) -> nn.Module:
        return self.copy


def fit(variant: Variant, rollout: Rollout, steps: int, lr: float, seed: int) -> Iterator[int]:
    """Take `steps` steps; yields after each how many were taken."""
    torch.manual_seed(seed)
    parameters = list(variant.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0)
    order = torch.cat([torch.randperm(len(rollout)) for _ in range(-(-steps * ROWS // len(rollout)))])
    for step in range(steps):
        part = rollout.select(order[step * ROWS : (step + 1) * ROWS])
        at, counted = sample_prefixes(needed_probes(part), PREFIXES)
        logits = variant.logits(part, at, torch.enable_grad())
        targets = part.answer_ids[:, :1].expand_as(at)
        loss = F.cross_entropy(logits[counted], targets[counted])
        optimizer.zero_grad()
        loss.backward(inputs=parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        yield step + 1


@dataclass(frozen=True)
class Scores:
    nll: float
    ece: float
    right: float
    entropy_right: float
    entropy_wrong: float
    auroc: float

    def row(self) -> str:
        return (
            f"{self.nll:.3f} | {self.ece:.3f} | {self.right:.3f} | {self.entropy_right:.2f} | {self.entropy_wrong:.2f} "
            f"| {self.auroc:.3f}"
        )


@torch.no_grad()
def evaluate(variant: Variant, rollout: Rollout) -> Scores:
    found: list[tuple[Tensor, ...]] = []
    for rows in torch.arange(len(rollout)).split(ROWS):
        part = rollout.select(rows)
        needed = needed_probes(part)
        every = torch.arange(needed.shape[1]).expand_as(needed)
        logp = variant.logits(part, every, nullcontext()).log_softmax(-1)
        truth = part.answer_ids[:, :1].expand_as(every)
        top = logp.max(-1)
        values = (
            -logp.gather(-1, truth[:, :, None])[:, :, 0],
            top.values.exp(),
            (top.indices == truth).float(),
            -(logp.exp() * logp).sum(-1),
        )
        found.append(tuple(value[needed] for value in values))
    nll, confidence, right, entropy = (torch.cat(values) for values in zip(*found, strict=True))
    bins = (confidence * 15).long().clamp(max=14)
    ece = sum(float((confidence - right)[bins == b].sum().abs()) for b in range(15)) / len(bins)
    ranks = torch.empty_like(entropy)
    ranks[entropy.argsort()] = torch.arange(1, len(entropy) + 1.0)
    wrong = right == 0
    count = int(wrong.sum())
    auroc = (ranks[wrong].sum() - count * (count + 1) / 2) / max(1, count * (len(wrong) - count))
    means = (nll.mean(), ece, right.mean(), entropy[~wrong].mean(), entropy[wrong].mean(), auroc)
    return Scores(*(float(value) for value in means))


def draw(model: nn.Module, tokenizer, split: str, count: int, seed: int) -> Rollout:
    torch.manual_seed(seed)
    problems = generate_problems(count, seed, split)
    sampler = TransformersSampler(model, tokenizer, max_new_tokens=128, max_batch=512)
    rollout = sampler([problem.prompt for problem in problems], 1)
    return rollout.select(((rollout.answer_mask.sum(1) == 1) & rollout.reasoning_mask.any(1)).nonzero().flatten())


def cost(model: nn.Module, rollout: Rollout, postfix: tuple[int, ...], blocks: int = 3) -> str:
    """Seconds of one call of `Calibrated.fit` beside those of one estimate of the same completions, in turns."""
    estimator = Calibrated(AnswerLikelihood(postfix), model)
    optimizer = torch.optim.AdamW(estimator.parameters(), lr=1e-2, weight_decay=0.0)
    seconds: dict[str, list[float]] = {"plain": [], "calibrated": [], "fit, 1 step": [], "fit, 4 steps": []}
    calls: dict[str, Callable[[], object]] = {
        "plain": lambda: AnswerLikelihood(postfix, guard=False)(model, rollout),
        "calibrated": lambda: estimator(model, rollout),
        "fit, 1 step": lambda: estimator.fit(model, rollout, optimizer, steps=1),
        "fit, 4 steps": lambda: estimator.fit(model, rollout, optimizer, steps=4),
    }
    for _ in range(blocks):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return "; ".join(f"{name}: {', '.join(f'{s:.2f}' for s in values)} s" for name, values in seconds.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--completions", type=int, default=8192, help="to fit on")
    parser.add_argument("--held_out", type=int, default=256, help="test problems")
    parser.add_argument("--marks", type=int, nargs="+", default=[30, 100, 300], help="steps after which to report")
    parser.add_argument("--variants", nargs="+", help="the rows to make; all if not given")
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    policy = AutoModelForCausalLM.from_pretrained(model_path())
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    postfix = tuple(tokenizer("</think><answer>", add_special_tokens=False)["input_ids"])
    train = draw(policy, tokenizer, "train", settings.completions, settings.seed)
    test = draw(policy, tokenizer, "test", settings.held_out, settings.seed)
    variants: dict[str, tuple[float, Callable[[], Variant]]] = {
        "temperature": (3e-2, lambda: Temperature(policy, postfix)),
        "head, rank 16": (1e-2, lambda: Head(policy, postfix, 16, bend=False)),
        "head, rank 96 (full)": (3e-3, lambda: Head(policy, postfix, 96, bend=False)),
        "head, two layers of 128": (3e-3, lambda: Head(policy, postfix, 128, bend=True)),
        "postfix, 2 vectors": (1e-2, lambda: Postfix(policy, postfix, 0)),
        "postfix, 8 vectors": (1e-2, lambda: Postfix(policy, postfix, 6)),
        "layers, rank 2": (1e-2, lambda: Layers(policy, postfix, 2)),
        "layers, rank 8": (1e-2, lambda: Layers(policy, postfix, 8)),
        "layers, rank 32": (3e-3, lambda: Layers(policy, postfix, 32)),
        "copy": (1e-3, lambda: Copy(policy, postfix)),
    }
    print(f"{len(train)} completions to fit on; one step: {ROWS} of them, {PREFIXES} positions of each.\n")
    print("| variant | parameters | learning rate | steps | NLL | ECE | right | H right | H wrong | AUROC |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    print(f"| none | 0 | | | {evaluate(Variant(policy, postfix), test).row()} |", flush=True)
    for name in settings.variants or variants:
        lr, make = variants[name]
        torch.manual_seed(settings.seed)
        variant = make()
        count = sum(parameter.numel() for parameter in variant.parameters())
        for step in fit(variant, train, max(settings.marks), lr, settings.seed):
            if step in settings.marks:
                print(f"| {name} | {count} | {lr} | {step} | {evaluate(variant, test).row()} |", flush=True)
    print(f"\nSeconds for {len(test)} completions, {torch.get_num_threads()} threads: {cost(policy, test, postfix)}.")


if __name__ == "__main__":
    main()

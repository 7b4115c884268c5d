"""A training run from flat settings: set up, resume, loop, save, evaluate before and after, report."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from iapo.embedded import classify, parse_prompt
from iapo.embedded.symbols import SYMBOLS
from iapo.evaluation.evaluation import EvaluationResult, evaluate
from iapo.interfaces import AdvantageAssigner, MIEstimator, PolicyLoss, Reward, Sampler
from iapo.optimizers.clipped import ClippedOptimizer
from iapo.policy.loading import choose_autocast, choose_device, load_model, load_tokenizer
from iapo.rewards import check_columns
from iapo.rollout import TransformersSampler
from iapo.tasks.data import PromptStream, hold_out, load_rows, render_prompts
from iapo.training.checkpoint import TrainingState, latest_checkpoint, load_checkpoint, restore_rng, save_checkpoint
from iapo.training.interruption import EXIT_CODE, listening
from iapo.training.log import append_metrics, read_metrics, truncate_metrics
from iapo.training.loop import Answer, update
from iapo.training.progress import progress_bar
from iapo.training.report import write_report
from iapo.training.resample import Resampling


def train(
    *,
    output: str,
    resume: bool,
    override: bool,
    seed: int,
    model: str,
    device: str,
    precision: str,
    trust_remote_code: bool,
    data: str,
    split: str,
    limit: int | None,
    prompt_column: str,
    answer_column: str,
    prompt_template: str | None,
    system_prompt: str | None,
    steps: int,
    max_tokens: int | None,
    prompts_per_step: int,
    group_size: int,
    micro_batch: int,
    epochs: int,
    resample: int,
    diagnose: int,
    answer: Answer,
    sampler: Callable[[nn.Module, Any], Sampler],
    rewards: Mapping[str, Reward],
    estimator: MIEstimator,
    assigner: AdvantageAssigner,
    loss: PolicyLoss,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
    warmup_steps: int,
    max_grad_norm: float,
    eval_problems: int,
    eval_samples: int,
    checkpoint_every: int,
    keep_checkpoints: int,
    resolved: Mapping[str, Any],
) -> int:
    """Train a policy and report what happened. The settings are those of ``iapo train``, see its help.

    Args:
        resolved: the settings as plain data, kept in the run folder and compared on resuming.

    Returns:
        The exit code: 0, or `iapo.training.interruption.EXIT_CODE` if a signal ended the run after saving.

    Raises:
        FileExistsError: ``output`` holds a run and ``resume`` is off.
        ValueError: settings that cannot work; raised before the model loads where that is possible.
    """
    folder = Path(output)
    if (folder / "report.md").exists() or (not resume and (folder / "config.json").exists()):
        raise FileExistsError(f"output: {output} holds a run already; remove it, name another, or go on with --resume")
    if group_size < 2:
        raise ValueError(f"group_size: got {group_size}, want at least 2: a completion needs others to compare with")
    limits = [("max_tokens", max_tokens, 1), ("warmup_steps", warmup_steps, 0)]
    limits += [("resample", resample, 0), ("diagnose", diagnose, 0)]
    limits += [("steps", steps, 1), ("prompts_per_step", prompts_per_step, 1), ("micro_batch", micro_batch, 1)]
    limits += [("epochs", epochs, 1), ("eval_problems", eval_problems, 1), ("eval_samples", eval_samples, 1)]
    limits += [("checkpoint_every", checkpoint_every, 1), ("keep_checkpoints", keep_checkpoints, 1)]
    for name, value, least in limits:
        if value is not None and value < least:
            raise ValueError(f"{name}: got {value}, want at least {least}")
    if not max_grad_norm > 0:
        raise ValueError(f"max_grad_norm: got {max_grad_norm}, want a positive number")
    rows = load_rows(data, split, limit, seed, prompt_column, answer_column)
    check_columns(rewards, rows[0])
    rows = render_prompts(rows, load_tokenizer(model, trust_remote_code), system_prompt, prompt_template)
    training, held_out = hold_out(rows, eval_problems)
    stream = PromptStream(training, prompts_per_step, seed)

    place = choose_device(device)
    autocast = choose_autocast(precision, place)
    torch.manual_seed(seed)
    saved = load_checkpoint(folder, resolved, override) if resume and latest_checkpoint(folder) else None
    source = model if saved is None else str(saved.path)
    policy, tokenizer = load_model(source, place, trust_remote_code=trust_remote_code)
    reference = None
    if loss.requires_reference:
        reference, _ = load_model(model, place, trust_remote_code=trust_remote_code)
    classify_tokens = token_classes(data, rows, tokenizer)
    inner = optimizer(policy.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(inner, lambda step: min(1.0, (step + 1) / max(1, warmup_steps)))
    stepper = ClippedOptimizer(inner, max_grad_norm, schedule)
    draw = sampler(policy, tokenizer)
    if not draw.temperature > 0:
        raise ValueError(
            f"sampler.temperature: got {draw.temperature}, want a positive number: greedy groups are all alike"
        )
    step = tokens = 0
    if saved is not None:
        step, tokens = saved.step, saved.state.counters["tokens_sampled"]
        inner.load_state_dict(dict(saved.state.optimizer))
        stepper.load_state_dict(dict(saved.state.counters["optimizer"]))
        stream.restore(dict(saved.state.data))
    folder.mkdir(parents=True, exist_ok=True)
    truncate_metrics(folder / "metrics.jsonl", step)
    (folder / "config.json").write_text(json.dumps(resolved, indent=2) + "\n")

    def judge(step: int) -> EvaluationResult:
        """Evaluate the policy in the precision of training, with random numbers of its own, and keep the result."""

        def run() -> EvaluationResult:
            with torch.autocast(place.type, autocast, enabled=autocast is not None):
                return evaluate(
                    held_out,
                    tokenizer=tokenizer,
                    sampler=draw,
                    greedy=TransformersSampler(policy, tokenizer, max_new_tokens=longest(draw), temperature=0.0),
                    rewards=rewards,
                    samples=eval_samples,
                )

        return kept_evaluation(folder / f"evaluation-{step}.json", run, seed)

    def save(step: int) -> None:
        state = TrainingState(
            optimizer=inner.state_dict(),
            data=stream.state(),
            config=resolved,
            counters={"optimizer": stepper.state_dict(), "tokens_sampled": tokens},
        )
        save_checkpoint(folder, step, state, policy, tokenizer, keep_checkpoints)

    before = judge(0)
    if saved is not None:
        restore_rng(saved.state.rng)
    with listening() as interruption, progress_bar(steps, step) as show:
        while (done := share_done(step, steps, tokens, max_tokens)) < 1:
            start = time.perf_counter()
            metrics = update(
                stream.next(),
                model=policy,
                tokenizer=tokenizer,
                sampler=draw,
                rewards=rewards,
                estimator=estimator,
                assigner=assigner.at(done),
                loss=loss,
                optimizer=stepper,
                group_size=group_size,
                micro_batch=micro_batch,
                epochs=epochs,
                answer=answer,
                ref_model=reference,
                autocast=autocast,
                resampling=Resampling(resample, stream.next) if resample else None,
                diagnose=diagnose > 0 and step % diagnose == 0,
                classify=classify_tokens,
            )
            step, tokens = step + 1, tokens + int(metrics["num_tokens"])
            metrics |= {"iapo/tokens_sampled": tokens, "step_time": time.perf_counter() - start}
            append_metrics(folder / "metrics.jsonl", step, metrics)
            show(step, metrics)
            ended = share_done(step, steps, tokens, max_tokens) == 1
            if step % checkpoint_every == 0 or ended or interruption:
                save(step)
            if interruption and not ended:
                return EXIT_CODE
    after = judge(step)
    metadata = {"model": model, "data": data, "updates": step, "tokens sampled": tokens, "seed": seed, "device": place}
    metadata |= {"problems held out": len(held_out), "samples of each": eval_samples}
    write_report(folder, metadata, read_metrics(folder / "metrics.jsonl"), before, after)
    return 0


def share_done(step: int, steps: int, tokens: int, max_tokens: int | None) -> float:
    """How much of a run is done, from 0 to 1, by the limit that is nearer: updates or sampled tokens.

    Example:
        >>> share_done(step=3, steps=4, tokens=900, max_tokens=1000), share_done(1, 4, tokens=1200, max_tokens=1000)
        (0.9, 1.0)
    """
    return min(1.0, max(step / steps, 0.0 if max_tokens is None else tokens / max_tokens))


def token_classes(
    data: str, rows: Sequence[Mapping[str, Any]], tokenizer: Any
) -> Callable[[str, str], Sequence[str]] | None:
    """The rule that says what each token of a completion does, or ``None`` where there is none.

    There is one for the embedded task, its prompts as they are, in tokens of its own language.
    """
    if data != "embedded" or set(tokenizer.get_vocab()) != set(SYMBOLS):
        return None
    try:
        for row in rows:
            parse_prompt(row["prompt"])
    except ValueError:
        return None
    return classify


def longest(sampler: Sampler) -> int:
    """The most tokens that a sampler draws, for the greedy completions beside its own."""
    return int(getattr(sampler, "max_new_tokens", 1024))


def kept_evaluation(path: Path, run: Callable[[], EvaluationResult], seed: int) -> EvaluationResult:
    """The evaluation kept in ``path``, or a new one, kept there. Torch's random state is as it was before."""
    fields = ("correct", "lengths", "greedy_correct", "greedy_lengths")
    if path.exists():
        kept = json.loads(path.read_text())
        return EvaluationResult(**{name: torch.tensor(kept[name]) for name in fields})
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed + 1)
        result = run()
    path.write_text(json.dumps({name: getattr(result, name).tolist() for name in fields}) + "\n")
    return result

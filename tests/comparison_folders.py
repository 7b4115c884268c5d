"""A comparison folder as runs leave it, made up, so that reports can be tested without training."""

import dataclasses
import random
from pathlib import Path

import torch

from iapo.comparison.running.plan import EvaluationPlan, Method, Plan, Run, Tuning
from iapo.comparison.running.problems import problems_path
from iapo.comparison.running.results import BASE_FOLDER, evaluation_file, made_from
from iapo.evaluation import BudgetCurve, EvaluationResult, ForcedAnswers
from iapo.ops.json_files import write_sealed
from iapo.training.reporting.log import METRICS, append_metrics, metrics_digest

SETTINGS = {"data": "embedded", "model": "embedded", "steps": 3, "max_tokens": None}


def made_up_plan(methods: tuple[Method, ...] | None = None) -> Plan:
    if methods is None:
        grid = {"alpha=0.1": SETTINGS, "alpha=0.5": SETTINGS}
        methods = (
            Method("grpo", "grpo", "default", {"default": SETTINGS}),
            Method("iapo", "iapo", "default", grid),
            Method("iapo-paper", "iapo", "paper", {"default": SETTINGS}),
        )
    return Plan(
        task="sums",
        data="embedded",
        methods=methods,
        tuning=Tuning(seeds=(7,), problems=4, samples=2),
        reporting_seeds=(0, 1),
        reference=methods[0].name,
        evaluation=EvaluationPlan(6, 4, (1, 2, 4), 0, 64, SETTINGS),
        at_once=1,
        threads=1,
    )


def write_problems(folder: Path) -> None:
    """The problems of both splits: difficulties 2 to 4, twice each."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, samples in (("validation", 2), ("test", 4)):
        rows = [{"prompt": f"{i}+1=", "answer": str(i + 1), "difficulty": 2 + i % 3} for i in range(6)]
        content = {"split": split, "samples": samples, "settings": SETTINGS, "rows": rows}
        write_sealed(problems_path(folder, split), content)


def write_evaluation(folder: Path, run: str, split: str, accuracy: float, length: int, samples: int) -> None:
    """An evaluated run in which every completion is as long as ``length``, give or take one."""
    rng = random.Random(f"{run}/{split}")
    (folder / run).mkdir(parents=True, exist_ok=True)
    lengths = [[length + rng.randint(-1, 1) for _ in range(samples)] for _ in range(6)]
    means = [sum(row) / samples for row in lengths]
    correct = [[rng.random() < accuracy for _ in range(samples)] for _ in range(6)]
    greedy = torch.ones(6, dtype=torch.bool), torch.full((6,), length)
    known = {
        **made_from(problems_path(folder, split), folder / run),
        "model": "checkpoint-3" if (folder / run / METRICS).exists() else "embedded",
        "metrics": metrics_digest(folder / run / METRICS),
        "classes": {"needed": [10.0] * 6, "filler": [mean - 10 for mean in means]},
        "shortest": [15 + i % 3 for i in range(6)],
    }
    result = EvaluationResult(torch.tensor(correct), torch.tensor(lengths), *greedy)
    if split == "test":
        result = dataclasses.replace(result, truncated=~result.correct, at_budget=at_budgets(result.correct))
    result.save(folder / run / evaluation_file(split), known)


def at_budgets(correct: torch.Tensor, budgets: tuple[int, int, int] = (0, 10, 30)) -> BudgetCurve:
    """Nothing right at once, as right as without a budget from the second on."""
    return BudgetCurve(budgets, torch.stack([torch.zeros_like(correct), correct, correct], -1))


def write_run(folder: Path, run: Run, accuracy: float, length: int, samples: int) -> None:
    """A finished run."""
    (folder / run.folder).mkdir(parents=True, exist_ok=True)
    row = {"num_tokens": 100.0 * length, "step_time": 0.5, "reward": accuracy, "completions/mean_length": length}
    for step in (1, 2, 3):
        append_metrics(folder / run.folder / METRICS, step, row)
    write_evaluation(folder, run.folder, run.split, accuracy, length, samples)
    (folder / run.folder / "report.md").write_text("# Report\n")


def write_comparison(folder: Path) -> Plan:
    """Everything finished; of ``iapo`` the setting 0.5 is shorter and nearly as accurate."""
    plan = made_up_plan()
    write_problems(folder)
    write_evaluation(folder, BASE_FOLDER, "test", 0.7, 40, 4)
    for run in plan.tuning_runs():
        write_run(folder, run, 1.0, 30 if run.setting == "alpha=0.1" else 20, 2)
    for run in plan.reporting_runs({"grpo": "default", "iapo": "alpha=0.5", "iapo-paper": "default"}):
        write_run(folder, run, 0.8, {"grpo": 30, "iapo": 20, "iapo-paper": 25}[run.method.name], 4)
    return plan


def asking_at_budgets(plan: Plan, budgets: tuple[int, ...] | None = None) -> Plan:
    """The same plan, its reasoning cut at budgets; ``None``: those that follow from the base model's lengths."""
    forced = ForcedAnswers("</think><answer>", "</answer>", budgets, samples=3)
    return dataclasses.replace(plan, evaluation=dataclasses.replace(plan.evaluation, forced=forced))

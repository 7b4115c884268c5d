"""What information adds to a step of TRL's GRPO trainer: seconds of a step without it, and of probing with it.

Runs in the environment of `make test-trl`::

    OMP_NUM_THREADS=1 .venv-peers/bin/python benchmarks/engines.py

The embedded model, 32 completions a step, TRL's defaults but for the learning rate. The first step of a run is not
counted: it compares the packed with the naive forward.
"""

import argparse
import tempfile
import warnings

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from iapo.embedded import generate_problems, model_path, rows
from iapo.estimators import AnswerLikelihood, Refined, StepBoundaries
from iapo.integrations.trl import IAPOConfig, IAPOTrainer
from iapo.rewards import ExactAnswer

STEPS = {"before_ids": (22, 23), "after_ids": (24, 25), "run_ids": (26, 27, 28), "result_ids": (21,)}
"""As in `configs/iapo_steps.yaml`."""


def steps_of(kind: type, config: type, steps: int, **parts: object) -> list[dict[str, float]]:
    """The logs of a run's steps, the first left out."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = kind(
            AutoModelForCausalLM.from_pretrained(model_path()),
            ExactAnswer(),
            config(
                folder,
                per_device_train_batch_size=32,
                max_completion_length=128,
                learning_rate=1e-4,
                max_steps=steps + 1,
                logging_steps=1,
                save_strategy="no",
                use_cpu=True,
                bf16=False,
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(rows(generate_problems(64, seed=1))),
            processing_class=AutoTokenizer.from_pretrained(model_path()),
            **parts,
        )
        trainer.train()
        return [log for log in trainer.state.log_history if "step_time" in log][1:]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=4)
    steps = parser.parse_args().steps
    warnings.simplefilter("ignore")
    likelihood = AnswerLikelihood.from_text(AutoTokenizer.from_pretrained(model_path()))
    at_steps = Refined(likelihood, stride=1, boundaries=StepBoundaries(**STEPS))
    runs = {
        "GRPO": steps_of(GRPOTrainer, GRPOConfig, steps),
        "every token": steps_of(IAPOTrainer, IAPOConfig, steps),
        "boundaries of steps": steps_of(IAPOTrainer, IAPOConfig, steps, estimator=at_steps),
    }
    print("| probes | seconds a step | of it probes | share of the rest | completions probed | mean length |")
    print("|---|---|---|---|---|---|")
    for name, logs in runs.items():

        def mean(metric: str, logs: list[dict[str, float]] = logs) -> float:
            return sum(log.get(metric, 0.0) for log in logs) / len(logs)

        step, probes = mean("step_time"), mean("iapo/time/estimate")
        print(
            f"| {name} | {step:.2f} | {probes:.2f} | {probes / (step - probes):.0%} | "
            f"{mean('iapo/completions/probed'):.1f} | {mean('completions/mean_length'):.1f} |"
        )


if __name__ == "__main__":
    main()

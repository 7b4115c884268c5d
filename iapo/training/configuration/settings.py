"""How a run trains: its folder, its length and its size.

The fields are flags of the command line, with their help and their defaults: the embedded task, and what works on it.
"""

from dataclasses import dataclass, field

from jsonargparse.typing import NonNegativeInt, PositiveInt

from iapo.ops.correct import CORRECT_ABOVE
from iapo.policy.lora import LoRA
from iapo.rewards.rollouts import TIME_LIMIT
from iapo.training.components import Answer
from iapo.training.configuration.ranges import FiniteFloat, GroupSize, PositiveFiniteFloat, Seed, check_ranges
from iapo.training.reporting.tracking import TrackerName


@dataclass(frozen=True)
class RunSettings:
    """A training run: its folder, its length and its size.

    Args:
        output: run folder.
        resume: go on from the newest checkpoint of the run folder, if it has one.
        override: resume although settings, data or versions differ.
        seed: of everything random.
        steps: updates, at most.
        max_tokens: end after the update in which so many tokens are sampled.
        prompts_per_step: prompts of an update.
        group_size: completions of a prompt.
        micro_batch: completions per forward; it changes memory and speed, not the update.
        gradient_checkpointing: keep only the inputs of layers for the backward, and compute the rest again; it changes
            memory and speed, not the update.
        lora: train low-rank adapters in place of the weights; lora.r 0 trains all weights.
        shard: share weights, gradients and the optimizer's state out over the processes (FSDP2).
        epochs: optimizer steps on the same completions.
        resample: rounds in which groups of equal rewards give way to fresh prompts.
        reward_time_limit: seconds that a reward function may take over the completions of an update, or over those of
            an evaluation that are sampled together.
        correct_above: a completion is right if the first of the rewards gives it more than this.
        log_samples: of each update so many completions, the first, are kept to be read; 0 keeps none.
        diagnose: every how many updates the length and the information are diagnosed; 0 is never.
        answer: what the estimator is asked about, the own or the reference answer.
        warmup_steps: steps over which the learning rate rises.
        max_grad_norm: the gradient is scaled down to this L2 norm.
        eval_problems: problems held out for the report.
        eval_samples: completions of each held-out problem.
        eval_batch: completions of an evaluation that are sampled together, behind which the report so far is written;
            default is all. It changes the random numbers of each, not what is measured.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: checkpoints kept.
        tracker: also sends the metrics to tensorboard (in the run folder), wandb or trackio, where it is installed.
    """

    output: str = "runs/embedded"
    resume: bool = False
    override: bool = False
    seed: Seed = 0
    steps: PositiveInt = 60
    max_tokens: PositiveInt | None = None
    prompts_per_step: PositiveInt = 32
    group_size: GroupSize = 8
    micro_batch: PositiveInt = 32
    gradient_checkpointing: bool = False
    lora: LoRA = field(default_factory=LoRA)
    shard: bool = False
    epochs: PositiveInt = 1
    resample: NonNegativeInt = 0
    reward_time_limit: PositiveFiniteFloat | None = TIME_LIMIT
    correct_above: FiniteFloat = CORRECT_ABOVE
    log_samples: NonNegativeInt = 8
    diagnose: NonNegativeInt = 10
    answer: Answer = "own"
    warmup_steps: NonNegativeInt = 0
    max_grad_norm: PositiveFiniteFloat = 1.0
    eval_problems: PositiveInt = 256
    eval_samples: PositiveInt = 4
    eval_batch: PositiveInt | None = None
    checkpoint_every: PositiveInt = 20
    keep_checkpoints: PositiveInt = 2
    tracker: TrackerName = "none"

    def __post_init__(self) -> None:
        check_ranges(self)
        if not self.output:
            raise ValueError("output: got an empty text, want the name of a run folder")

"""Every file of ``configs/`` is the method that it says: class, numbers, and one update that works."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from iapo.advantages import (
    GDPO,
    GFPO,
    GRPOS,
    GTPO,
    RLOO,
    SGRPO,
    AdaptiveLengthPenalty,
    AroraZanette,
    BatchWhitened,
    BudgetReturns,
    ConfidenceMasked,
    Crop,
    Drift,
    EntropyAdvantage,
    FirstCorrectChunk,
    GroupRelative,
    GroupRescaling,
    InformationAware,
    KimiLength,
    L1Length,
    Laser,
    LaserD,
    LeaveOutPriced,
    LengthShaped,
    O1Pruner,
    OARReshaped,
    OfficialCompat,
    PaceLength,
    PermutedInformation,
    RandomInformation,
    RecordGain,
    ReinforcePlusPlus,
    SerialExits,
    ShorterBetter,
    SoftOverlong,
    StepPotential,
    TailPenalty,
    ThinkPrune,
    TurnGain,
)
from iapo.advantages.schedules import Linear
from iapo.embedded import generate_problems, model_path, rows
from iapo.estimators import (
    AnswerLikelihood,
    EarlyExitEntropy,
    LeaveOut,
    NextTokenEntropy,
    NoInformation,
    OARGradient,
    OARPerturbation,
    Refined,
)
from iapo.losses import CISPO, GSPO, ClippedPolicyLoss
from iapo.optimizers import ClippedOptimizer
from iapo.rollout import CompactingSampler
from iapo.tasks import EmbeddedTask
from iapo.training import Components, UpdateSettings, update
from iapo.training.configuration.parser import train_parser
from iapo.training.configuration.styles import estimator_in_style
from iapo.training.resample import Resampling

CONFIGS = Path(__file__).parents[1] / "configs"

GRPO_LOSS = ClippedPolicyLoss(0.2, 0.2, "sequence")
DAPO_LOSS = ClippedPolicyLoss(0.2, 0.28, "token")
IAPO_LOSS = ClippedPolicyLoss(0.2, 0.28, "token", kl_coef=1e-3)
SUM_LOSS = ClippedPolicyLoss(0.2, 0.2, "constant", max_length=128)
CENTERED = GroupRelative(scale="none")
ONE_SIDED = ClippedPolicyLoss(0.2, 0.2, "token")

THRESHOLDS = (20, 24, 28, 32, 36, 40, 48, 56, 64, 80)

METHODS: dict[str, tuple[Any, Any, type]] = {
    "grpo": (GroupRelative(), GRPO_LOSS, NoInformation),
    "dr_grpo": (GroupRelative(scale="none"), SUM_LOSS, NoInformation),
    "rloo": (RLOO(), SUM_LOSS, NoInformation),
    "reinforce_plus_plus": (ReinforcePlusPlus(discount=1.0), ONE_SIDED, NoInformation),
    "dapo": (LengthShaped(GroupRelative(), SoftOverlong(max_length=128, buffer=26)), DAPO_LOSS, NoInformation),
    "gfpo": (GFPO(keep=8, by="length"), ONE_SIDED, NoInformation),
    "gtpo": (GTPO(1.0, 0.1), DAPO_LOSS, NoInformation),
    "grpo_s": (GRPOS(1.0, 0.1), ClippedPolicyLoss(0.2, 0.28, "sequence"), NoInformation),
    "sgrpo": (SGRPO(GroupRelative(), first=8, probability=0.25), GRPO_LOSS, NoInformation),
    "gspo": (GroupRelative(), GSPO(3e-3, 4e-3), NoInformation),
    "cispo": (GroupRelative(), CISPO(clip_low=1.0, clip_high=4.0), NoInformation),
    "kimi": (LengthShaped(GroupRelative(scale="none"), KimiLength(weight=1.0)), DAPO_LOSS, NoInformation),
    "l1": (LengthShaped(GroupRelative(), L1Length(target=24, weight=0.02)), GRPO_LOSS, NoInformation),
    "arora_zanette": (LengthShaped(RLOO(), AroraZanette(weight=0.2)), ONE_SIDED, NoInformation),
    "shorter_better": (LengthShaped(GroupRelative(), ShorterBetter(2.0, 0.05)), GRPO_LOSS, NoInformation),
    "think_prune": (LengthShaped(GroupRelative(), ThinkPrune(Linear(64, 28))), GRPO_LOSS, NoInformation),
    "oar_p": (OARReshaped(GroupRelative()), GRPO_LOSS, OARPerturbation),
    "oar_g": (OARReshaped(GroupRelative()), GRPO_LOSS, OARGradient),
    "iapo": (InformationAware(), DAPO_LOSS, AnswerLikelihood),
    "iapo_steps": (InformationAware(), DAPO_LOSS, Refined),
    "leave_out": (
        LeaveOutPriced(),
        DAPO_LOSS,
        LeaveOut,
    ),
    "apr": (TailPenalty(CENTERED, weight=0.2), SUM_LOSS, AnswerLikelihood),
    "lc_r1": (Crop(CENTERED), GRPO_LOSS, AnswerLikelihood),
    "decs": (FirstCorrectChunk(step=4), DAPO_LOSS, AnswerLikelihood),
    "spae": (StepPotential(CENTERED, step=4), DAPO_LOSS, AnswerLikelihood),
    "serial_exits": (SerialExits(exits=8), GRPO_LOSS, AnswerLikelihood),
    "mig": (RecordGain(step=4), DAPO_LOSS, AnswerLikelihood),
    "igpo": (TurnGain(step=8), GRPO_LOSS, AnswerLikelihood),
    "grpo_capped": (GroupRelative(), GRPO_LOSS, NoInformation),
    "dler": (
        BatchWhitened(LengthShaped(GroupRelative(scale="none"), ThinkPrune(limit=40))),
        ClippedPolicyLoss(0.2, 0.28, "token", dual_clip=10.0),
        NoInformation,
    ),
    "gdpo": (BatchWhitened(GDPO((1.0, 0.5)), over="completions"), GRPO_LOSS, NoInformation),
    "laser": (LengthShaped(GroupRelative(), Laser(target=32, weight=0.5)), GRPO_LOSS, NoInformation),
    "laser_d": (LengthShaped(GroupRelative(), LaserD(THRESHOLDS, 0.5)), GRPO_LOSS, NoInformation),
    "laser_de": (LengthShaped(GroupRelative(), LaserD(THRESHOLDS, 0.5, 0.5)), GRPO_LOSS, NoInformation),
    "alp": (LengthShaped(GroupRelative(), AdaptiveLengthPenalty(weight=0.005)), GRPO_LOSS, NoInformation),
    "gr3": (LengthShaped(GroupRelative(scale="none"), GroupRescaling(weight=0.3)), DAPO_LOSS, NoInformation),
    "pace": (LengthShaped(GroupRelative(), PaceLength(Linear(1.0, 0.0))), DAPO_LOSS, NoInformation),
    "o1_pruner": (BatchWhitened(O1Pruner(2.0, -2.0, 4.0), over="completions"), GRPO_LOSS, NoInformation),
    "sas": (ConfidenceMasked(GroupRelative(), (24, 25, 26, 27, 28), share=0.3), GRPO_LOSS, NoInformation),
    "entropy_advantage": (EntropyAdvantage(GroupRelative(), alpha=0.4, kappa=2.0), DAPO_LOSS, NoInformation),
    "permuted": (PermutedInformation(InformationAware()), DAPO_LOSS, AnswerLikelihood),
    "leave_out_permuted": (PermutedInformation(LeaveOutPriced()), DAPO_LOSS, LeaveOut),
    "random": (RandomInformation(InformationAware()), DAPO_LOSS, AnswerLikelihood),
    "brpo": (BudgetReturns((32, 64, 96, 128)), DAPO_LOSS, AnswerLikelihood),
    "dash": (Drift(step=4), DAPO_LOSS, AnswerLikelihood),
    "iapo_paper": (InformationAware.paper(alpha=1e-2, beta=1e-4), IAPO_LOSS, EarlyExitEntropy),
    "iapo_official": (OfficialCompat(alpha=1e-2, beta=1e-4), IAPO_LOSS, EarlyExitEntropy),
    "no_information": (InformationAware.paper(alpha=0.0, beta=1e-4), IAPO_LOSS, NoInformation),
    "next_token_entropy": (InformationAware.paper(alpha=1e-2, beta=1e-4), IAPO_LOSS, NextTokenEntropy),
    "no_exploration": (InformationAware.paper(alpha=1e-2, beta=0.0), IAPO_LOSS, EarlyExitEntropy),
}
OTHERS = {
    "dapo": {"resample": 4},
    "dler": {"resample": 4},
    "gfpo": {"group_size": 16, "prompts_per_step": 16},
    "gspo": {"epochs": 2},
    "cispo": {"epochs": 2},
    **{name: {"answer": "reference"} for name in ("decs", "spae", "serial_exits", "mig", "igpo", "brpo", "dash")},
}
"""Settings beside assigner, loss, estimator and output that differ from the defaults of `iapo train`."""


def parts_of(name: str) -> dict[str, Any]:
    parser = train_parser()
    parser.exit_on_error = False
    return parser.instantiate(parser.parse_args([f"--config={CONFIGS / name}.yaml"])).as_dict()


@pytest.fixture(scope="module")
def defaults() -> dict[str, Any]:
    return train_parser().parse_args([]).as_dict()


def test_every_file_is_in_the_table():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_it_is_the_method_that_it_says(name, defaults, embedded_tokenizer):
    parts = parts_of(name)
    assigner, loss, estimator = METHODS[name]
    assert parts["assigner"] == assigner
    assert parts["loss"] == loss
    assert type(parts["estimator"]) is estimator
    assert parts["output"] == f"runs/{name}"
    if hasattr(parts["estimator"], "postfix_ids"):
        assert parts["estimator"].postfix_ids == tuple(embedded_tokenizer.encode("</think><answer>"))
    own = {key for key in defaults if not isinstance(defaults[key], dict)} - {"config", "output"}
    assert {key: parts[key] for key in own if parts[key] != defaults[key]} == OTHERS.get(name, {})


@pytest.mark.parametrize("name", METHODS)
def test_its_head_says_where_it_comes_from(name):
    text = (CONFIGS / f"{name}.yaml").read_text()
    head = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#"))
    assert head.startswith(f"iapo train --config iapo://{name} ")
    assert re.search(r"arXiv \d{4}\.\d{5}", head)
    sized = ("Sized for the embedded task", "is as in iapo_paper.yaml", "the defaults of iapo train")
    assert any(each in head for each in sized)


@pytest.mark.parametrize("name", METHODS)
def test_one_update(name, embedded_tokenizer):
    parts = parts_of(name)
    model = AutoModelForCausalLM.from_pretrained(model_path())
    before = torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).clone()
    torch.manual_seed(0)
    sampler = parts["sampler"](model, embedded_tokenizer)
    assert type(sampler) is CompactingSampler
    reference = {"reference_length": 47.0, "reference_accuracy": 0.75}
    problems = [{**row, **reference} for row in rows(generate_problems(8, seed=5))]
    components = Components(
        sampler,
        parts["rewards"],
        estimator_in_style(parts["estimator"], EmbeddedTask.style, embedded_tokenizer),
        parts["assigner"].at(0.5),
        parts["loss"],
        ClippedOptimizer(parts["optimizer"](model.parameters()), parts["max_grad_norm"]),
    )
    settings = UpdateSettings(8, 32, parts["epochs"], parts["answer"])
    ref_model = model if parts["loss"].requires_reference else None
    resampling = Resampling(1, lambda: problems[4:]) if parts["resample"] else None
    metrics = update(problems[:4], model, embedded_tokenizer, components, settings, ref_model, resampling)
    after = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    assert metrics["grad_norm"] > 0
    assert metrics["iapo/steps_skipped"] == 0
    assert after.isfinite().all()
    assert not torch.equal(before, after)


def test_the_default_preset_is_the_default_of_the_command(defaults):
    parts, plain = parts_of("leave_out"), train_parser().instantiate(train_parser().parse_args([])).as_dict()
    for name in ("assigner", "loss", "estimator"):
        assert parts[name] == plain[name]

"""Updates of the embedded model, small and always the same."""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from iapo.advantages import InformationAware
from iapo.embedded import generate_problems, model_path, rows
from iapo.estimators import AnswerLikelihood
from iapo.losses import ClippedPolicyLoss
from iapo.optimizers import ClippedOptimizer
from iapo.rewards import MathAnswer
from iapo.rollout import TransformersSampler
from iapo.training.components import Components, UpdateSettings
from iapo.training.diagnosis import Diagnosis, diagnosed_update

TOKENIZER = AutoTokenizer.from_pretrained(model_path())
NUMBERS = ("group_size", "epochs", "answer", "autocast", "gradient_checkpointing", "correct_above")
POSTFIX = tuple(TOKENIZER.encode("</think><answer>", add_special_tokens=False))


def embedded_model():
    return AutoModelForCausalLM.from_pretrained(model_path())


def components_of(model, **changes) -> Components:
    parts = {
        "sampler": TransformersSampler(model, TOKENIZER, max_new_tokens=40),
        "rewards": {"accuracy": MathAnswer()},
        "estimator": AnswerLikelihood(POSTFIX),
        "assigner": InformationAware(),
        "loss": ClippedPolicyLoss(),
        "optimizer": ClippedOptimizer(torch.optim.SGD(model.parameters(), lr=0.1)),
    }
    return Components(**parts | changes)


def run(
    micro_batch=64,
    updates=1,
    double=False,
    reference=False,
    diagnose=False,
    classify=None,
    resampling=None,
    model=None,
    **changes,
):
    """Metrics of the last update and the weights after it; ``changes`` to components and to the update's settings."""
    model = embedded_model() if model is None else model
    model = model.double() if double else model
    ref_model = embedded_model().to(model.device, model.dtype) if reference else None
    numbers = {name: changes.pop(name) for name in NUMBERS if name in changes}
    settings = UpdateSettings(**{"group_size": 4, "micro_batch": micro_batch} | numbers)
    components = components_of(model, **changes)
    diagnosis = Diagnosis(model, TOKENIZER, components, settings, classify) if diagnose else None
    torch.manual_seed(0)
    for _ in range(updates):
        metrics = diagnosed_update(
            rows(generate_problems(4, seed=5)),
            model,
            TOKENIZER,
            components,
            settings,
            ref_model,
            resampling,
            diagnosis,
        )
    return metrics, torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

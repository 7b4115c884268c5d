"""verl's own worker with FSDP on two gloo ranks, groups split between them: as one process without verl."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from ports import held_port
from verl_jobs import HERE, environment, overrides

from iapo.advantages import GivenOutcome, GroupRelative, InformationAware, LeaveOutPriced
from iapo.embedded import generate_problems, model_path
from iapo.estimators import AnswerLikelihood, LeaveOut, TextBoundaries
from iapo.integrations.core import TokenAdvantages
from iapo.policy.loading import load_model
from iapo.rollout import TransformersSampler
from iapo.types import Rollout, TokenSignals

pytestmark = pytest.mark.filterwarnings("ignore")
CASES = {
    "all": ({"signal": "answer_likelihood", "applies_to": "all"}, [1.0] * 16),
    # One rank has eight to ask about, the other one; then none at all.
    "ragged": ({"signal": "answer_likelihood"}, [1.0] * 8 + [0.0, 1.0] + [0.0] * 6),
    "none on one": ({"signal": "answer_likelihood"}, [1.0] * 8 + [0.0] * 8),
    "reference": ({"signal": "answer_likelihood", "answer": "reference"}, [1.0, 0.0] * 8),
    "left out": ({}, [1.0, 1.0, 0.0, 1.0] * 4),
}
"""The section ``iapo`` and the rewards."""
ACTOR, MODEL = "actor_rollout_ref.actor", "actor_rollout_ref.model"
ENGINES = {
    "fsdp2": ([], tuple(CASES)),
    "fsdp": ([f"{ACTOR}.strategy=fsdp", f"{ACTOR}.fsdp_config.strategy=fsdp"], ("ragged", "left out")),
    "bf16": ([f"++{ACTOR}.fsdp_config.mixed_precision={{param_dtype:bf16,reduce_dtype:fp32,buffer_dtype:fp32}}"],
             ("ragged", "left out")),
    "LoRA": ([f"{MODEL}.lora_rank=4", f"{MODEL}.lora_alpha=8", f"{MODEL}.target_modules=all-linear"],
             ("ragged", "left out")),
}  # fmt: skip
"""What the actor runs on, and the cases that are tried with it."""
ADAPTER = 0.01
"""All weights of the adapter."""


def sampled(folder: Path) -> None:
    """Four completions of four problems, spread over the ranks, and two rows that fill the batch up."""
    model, tokenizer = load_model(str(model_path()), torch.device("cpu"))
    torch.manual_seed(0)
    problems = generate_problems(4, seed=3)
    rollout = TransformersSampler(model, tokenizer, max_new_tokens=64)([each.prompt for each in problems], 4)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    rollout = rollout.select(order)
    answers = [problems[group].answer for group in rollout.group_ids.tolist()]
    torch.save({"rollout": vars(rollout), "answers": answers}, folder / "given.pt")


def given_to(rank: int, folder: Path, section: dict, rewards: list[float]):
    """What a worker gets of verl: half of the rows and one that fills up, without tokens in the loss."""
    from verl.utils import tensordict_utils

    given = torch.load(folder / "given.pt", weights_only=False)
    rollout, answers = Rollout(**given["rollout"]), given["answers"]
    rows = range(8 * rank, 8 * rank + 8)
    filling = torch.full((1,), 7)

    def nested(parts):
        return torch.nested.as_nested_tensor(parts, layout=torch.jagged)

    responses = [rollout.completion_ids[row][rollout.completion_mask[row]] for row in rows] + [filling]
    outcome = outcome_of(rollout, torch.tensor(rewards))
    data = {
        "prompts": nested([rollout.prompt_ids[row][rollout.prompt_mask[row]] for row in rows] + [filling]),
        "responses": nested(responses),
        "response_mask": nested([torch.ones_like(each) for each in responses[:-1]] + [torch.zeros_like(filling)]),
        "advantages": nested([outcome[row, : len(each)] for row, each in zip([*rows, 0], responses, strict=True)]),
        "iapo_reward": torch.tensor([rewards[row] for row in rows] + [0.0]),
        "iapo_group": torch.tensor([int(rollout.group_ids[row]) for row in rows] + [100 + rank]),
        "reward_model": [{"ground_truth": answers[row]} for row in [*rows, 0]],
    }
    data = tensordict_utils.get_tensordict(data)
    said = {"section": section, "temperature": 1.0, "micro_batch": 3, "max_new_tokens": 64, "progress": 0.0}
    tensordict_utils.assign_non_tensor_data(data, "iapo", said | {"known": {}})
    return data


def outcome_of(rollout: Rollout, rewards: torch.Tensor) -> torch.Tensor:
    """The advantages that stand in for verl's outcome."""
    return GroupRelative()(rewards, rollout.group_ids, rollout.completion_mask).advantages


def work(rank: int, port: int, folder: Path, engine: str) -> None:
    """The cases of an engine on one rank."""
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": "2",
        "RAY_LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "DIST_INIT_METHOD": f"tcp://127.0.0.1:{port}",
    }
    from hydra import compose, initialize_config_module

    from iapo.integrations.verl.worker import InformationWorker

    more, cases = ENGINES[engine]
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=overrides("trainer.n_gpus_per_node=2", *more)).actor_rollout_ref
    worker = InformationWorker(config=config, role="actor", distillation_config=None)
    worker.init_model()
    for name, parameter in worker.actor.engine.module.named_parameters():
        if "lora_" in name:
            parameter.data.fill_(ADAPTER)
    found = {}
    for name in cases:
        section, rewards = CASES[name]
        worker.__dict__.pop("_iapo", None)
        out = worker.compute_token_advantages(given_to(rank, folder, section, rewards))
        fields = ("iapo_advantages", "iapo_loss_mask", "iapo_information")
        found[name] = {field: [row.clone() for row in out[field].unbind()] for field in fields}
        found[name]["metrics"] = out["iapo_metrics"]
    module = worker.actor.engine.module
    found["kinds"] = {type(part).__name__ for part in (module, next(module.parameters()))}
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.barrier()
    os._exit(0)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of the two ranks found with an engine."""
    folder = tmp_path_factory.mktemp("ranks")
    sampled(folder)

    @cache
    def with_engine(engine: str) -> list[dict]:
        done = subprocess.run(
            [sys.executable, __file__, str(folder), engine],
            env=environment("verl_cpu"),
            capture_output=True,
            text=True,
            cwd=HERE,
        )
        assert done.returncode == 0, done.stderr[-6000:]
        return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]

    return folder, with_engine


@pytest.mark.parametrize(
    ("engine", "case"), [(engine, case) for engine, (_, cases) in ENGINES.items() for case in cases]
)
def test_two_ranks_find_what_one_process_finds(ranks, engine, case):
    folder, with_engine = ranks
    found = with_engine(engine)
    assert all(("FullyShardedDataParallel" if engine == "fsdp" else "DTensor") in each["kinds"] for each in found)
    section, rewards = CASES[case]
    given = torch.load(folder / "given.pt", weights_only=False)
    rollout = Rollout(**given["rollout"])
    model, tokenizer = load_model(str(model_path()), torch.device("cpu"))
    if engine == "LoRA":
        for layer in model.model.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight.data += 8 * ADAPTER**2  # alpha / rank times the product of the two factors
    if "signal" in section:
        estimator = AnswerLikelihood.from_text(tokenizer)
        assigner = InformationAware(GivenOutcome(), applies_to=section.get("applies_to", "correct"))
    else:
        estimator, assigner = LeaveOut(TextBoundaries(tokenizer)), LeaveOutPriced(GivenOutcome())
    alone = TokenAdvantages(tokenizer, estimator, assigner, eos_ids={tokenizer.eos_token_id})
    mask = rollout.completion_mask
    references = given["answers"] if section.get("answer") == "reference" else None
    read = alone.read(
        rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, mask, rollout.group_ids, None, references
    )
    expected = alone(model, read, torch.tensor(rewards), outcome_of(rollout, torch.tensor(rewards)))
    assert expected.information.any()

    def both(field):
        rows = found[0][case][field][:8] + found[1][case][field][:8]
        return torch.stack([torch.nn.functional.pad(row, (0, mask.shape[1] - len(row))) for row in rows])

    if engine == "bf16":
        assert 1e-3 < (both("iapo_information") - expected.information).abs().max() < 0.5
    else:
        torch.testing.assert_close(both("iapo_information"), expected.information, atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(both("iapo_advantages"), expected.advantages.float(), atol=5e-6, rtol=0)
    probed = torch.tensor(rewards) > 0.5 if assigner.applies_to == "correct" else torch.ones(16).bool()
    signals = TokenSignals(
        information=both("iapo_information"),
        information_mask=read.reasoning_mask & probed[:, None],
        outcome_advantages=outcome_of(rollout, torch.tensor(rewards)),
    )
    assigned = assigner(torch.tensor(rewards), rollout.group_ids, mask, signals).advantages
    torch.testing.assert_close(both("iapo_advantages"), assigned, atol=1e-6, rtol=0)
    assert torch.equal(both("iapo_loss_mask").bool(), expected.loss_mask)
    for each in found:
        assert not each[case]["iapo_advantages"][8].any(), "a row that fills up"
        metrics = dict(each[case]["metrics"])
        assert metrics["iapo/completions/unscored"] == 2
        assert metrics["iapo/completions/probed"] == expected.metrics["iapo/completions/probed"]


if __name__ == "__main__":
    with held_port() as port:
        torch.multiprocessing.spawn(work, (port, Path(sys.argv[1]), sys.argv[2]), nprocs=2)

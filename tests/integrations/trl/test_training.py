"""Runs of a few steps: where nothing may change, and what GRPOTrainer's options do to information."""

from dataclasses import dataclass

import pytest
import torch
from trainers import (
    GROUP,
    PROBLEMS,
    TOKENIZER,
    IAPOTrainer,
    config_of,
    correct,
    embedded_model,
    sampled,
    short,
    trainer_of,
    trl,
    weights_of,
)
from transformers import AutoTokenizer

from iapo.advantages import GFPO, GivenOutcome, InformationAware
from iapo.advantages.schedules import Linear
from iapo.embedded import model_path
from iapo.integrations.trl import InformationMixin, InformationOptions
from iapo.styles import Steps

pytestmark = pytest.mark.filterwarnings("ignore")


def trained(folder, resume=None, **settings):
    trainer = trainer_of(folder, **settings)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def some_unscored(completions, answer, **_):
    """As `correct`, and no verdict on every third completion."""
    verdicts = correct(completions, answer)
    return [None if index % 3 == 1 else verdict for index, verdict in enumerate(verdicts)]


@pytest.mark.parametrize(
    "settings",
    [
        {"max_steps": 5},
        {"num_iterations": 2, "max_steps": 4, "loss_type": "grpo"},
        {"rewards": [some_unscored, short], "reward_weights": [1.0, 0.5], "loss_type": "dr_grpo"},
        {"mask_truncated_completions": True, "loss_type": "bnpo", "max_completion_length": 16},
        {"loss_type": "sapo", "scale_rewards": "batch"},
        {"loss_type": "cispo", "scale_rewards": "none", "bf16": True},
        {"loss_type": "luspo", "multi_objective_aggregation": "normalize_then_sum", "rewards": [correct, short]},
    ],
    ids=str,
)
def test_without_weight_it_is_grpo_bitwise(tmp_path, settings):
    plain = trained(tmp_path / "grpo", kind=trl.GRPOTrainer, **settings)
    ours = trained(tmp_path / "iapo", alpha=0.0, **settings)
    assert torch.equal(weights_of(ours), weights_of(plain))
    there, here = ({name for log in each.state.log_history for name in log} for each in (plain, ours))
    assert all(name.startswith("iapo/") for name in here - there)
    assert there <= here


@pytest.mark.parametrize(
    "settings",
    [
        {"gradient_checkpointing": True},
        {"gradient_accumulation_steps": 2, "per_device_train_batch_size": GROUP, "steps_per_generation": 4},
        {"mask_truncated_completions": True},
        {"rewards": [short, some_unscored], "correct_reward": "some_unscored"},
        {"top_entropy_quantile": 0.5, "loss_type": "cispo"},
        {"bf16": True},
        {"probe_at": "sentences"},
        {"num_iterations": 2, "exploration_weight": 0.1, "max_steps": 3},
    ],
    ids=str,
)
def test_information_moves_the_weights(tmp_path, settings):
    """With a weight the training is another one, finite and told of."""
    plain = trained(tmp_path / "grpo", kind=trl.GRPOTrainer, **{
        name: value for name, value in settings.items()
        if name not in ("correct_reward", "probe_at", "exploration_weight")
    })  # fmt: skip
    ours = trained(tmp_path / "iapo", **settings)
    weights = weights_of(ours)
    assert weights.isfinite().all()
    assert not torch.equal(weights, weights_of(plain))
    log = ours.state.log_history[0]
    assert log["iapo/completions/probed"] > 0
    assert log["iapo/information_per_token"] > 0


def test_no_verdict_is_left_out_and_keeps_what_trl_gave(tmp_path):
    trainer = trainer_of(tmp_path, rewards=[short, some_unscored], correct_reward="some_unscored")
    output = sampled(trainer)
    outcome = torch.tensor(list(trainer._logs["advantages"]))[:, None] * output["completion_mask"]
    without = trainer._rewards_per_func[:, 1].isnan()
    assert without.any()
    torch.testing.assert_close(output["advantages"][without], outcome[without], atol=1e-6, rtol=0)
    assert not torch.equal(output["advantages"], outcome)
    assert trainer._metrics["train"]["iapo/completions/unscored"] == [float(without.sum())]


def test_resumed_is_as_never_stopped(tmp_path):
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "num_iterations": 1}
    whole = trained(tmp_path / "whole", **settings)
    again = trained(tmp_path / "again", resume=str(tmp_path / "whole" / "checkpoint-2"), **settings)
    assert again.state.global_step == 4
    assert torch.equal(weights_of(again), weights_of(whole))


@pytest.mark.parametrize("information", [False, True])
def test_evaluation(tmp_path, information):
    trainer = trainer_of(
        tmp_path,
        eval_data=PROBLEMS[:4],
        per_device_eval_batch_size=GROUP,
        num_generations_eval=2,
        information_in_eval=information,
        log_completions=True,
    )
    metrics = trainer.evaluate()
    assert ("eval_iapo/information_per_token" in metrics) == information
    assert metrics["eval_loss"] == metrics["eval_loss"]
    trainer.train()
    assert "iapo/information_per_token" in trainer.state.log_history[1]


def test_the_reference_model_stays(tmp_path):
    trainer = trainer_of(tmp_path, model=str(model_path()), beta=0.1, model_init_kwargs={"dtype": "float32"})
    before = [parameter.clone() for parameter in trainer.ref_model.parameters()]
    trainer.train()
    assert trainer.state.log_history[-2]["kl"] > 0
    assert all(torch.equal(old, new) for old, new in zip(before, trainer.ref_model.parameters(), strict=True))


def test_a_schedule_sees_the_progress(tmp_path):
    added = []

    class Watched(IAPOTrainer):
        def _hand_over(self, credited, output, mode):
            outcome = output["advantages"][:, None] * output["completion_mask"]
            added.append(float((credited.advantages - outcome).abs().max()))
            super()._hand_over(credited, output, mode)

    assigner = InformationAware(GivenOutcome(), alpha=Linear(0.0, 1.0))
    trained(tmp_path, kind=Watched, max_steps=2, parts={"assigner": assigner})
    assert added[0] == 0 < added[1]


def test_an_adapter_of_weights(tmp_path):
    peft = pytest.importorskip("peft", reason="PEFT is not installed")
    adapter = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    trainer = trainer_of(tmp_path, parts={"peft_config": adapter}, beta=0.1, gradient_checkpointing=True)
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    moved = {name for name, value in trainer.model.named_parameters() if not torch.equal(value, before[name])}
    assert moved
    assert all("lora" in name for name in moved)
    assert trainer.state.log_history[0]["iapo/information_per_token"] > 0


def test_a_smaller_loss_mask_trains(tmp_path):
    """What GFPO leaves out moves nothing: the weights are those of a run in which it is not there at all."""

    class OutOfTheLoss(trl.GRPOTrainer):
        """GRPOTrainer under GFPO's advantages, with whole completions masked by hand."""

        def _generate_and_score_completions(self, inputs):
            output = super()._generate_and_score_completions(inputs)
            rewards = torch.tensor(correct(self.processing_class.batch_decode(output["completion_ids"],
                skip_special_tokens=True), [row["answer"] for row in inputs]))  # fmt: skip
            groups, mask = torch.arange(len(rewards)) // GROUP, output["completion_mask"].bool()
            assigned = GFPO(keep=2)(rewards, groups, mask)
            output["advantages"] = assigned.advantages[:, 0]
            output["completion_mask"] = output["completion_mask"] * assigned.loss_mask
            output["num_items_in_batch"] = assigned.loss_mask.sum()
            return output

    plainly = {"optim": "sgd", "learning_rate": 0.5}  # unlike Adam, it minds the size of gradients
    ours = trained(tmp_path / "iapo", parts={"assigner": GFPO(keep=2)}, **plainly)
    plain = trained(tmp_path / "grpo", kind=OutOfTheLoss, **plainly)
    torch.testing.assert_close(weights_of(ours), weights_of(plain), atol=1e-6, rtol=0)
    assert not torch.equal(weights_of(ours), weights_of(trained(tmp_path / "all", kind=trl.GRPOTrainer, **plainly)))


def test_tokens_of_tools_have_no_information(tmp_path, monkeypatch):
    generate = trl.GRPOTrainer._generate

    def with_tools(self, prompts):
        """Every third token is said to be a tool's."""
        output = list(generate(self, prompts))
        output[2] = [[int(index % 3 != 2) for index in range(len(ids))] for ids in output[1]]
        return tuple(output)

    monkeypatch.setattr(trl.GRPOTrainer, "_generate", with_tools)
    trainer = trainer_of(tmp_path)
    kept = []
    monkeypatch.setattr(trainer, "_hand_over", lambda credited, output, mode: kept.append(credited))
    output = sampled(trainer)
    written = (output["completion_mask"] * output["tool_mask"]).bool()
    credited = kept[0]
    assert torch.equal(credited.loss_mask, written)
    assert credited.information[written].any()
    assert not credited.information[~written].any()
    assert not credited.advantages[~written].any()


def test_conversations(tmp_path):
    template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    tokenizer.chat_template = template
    talks = [{**row, "prompt": [{"role": "user", "content": row["prompt"]}]} for row in PROBLEMS]

    def right(completions, answer, **_):
        return correct([completion[0]["content"] for completion in completions], answer)

    trainer = trainer_of(tmp_path, data=talks, rewards=right, tokenizer=tokenizer)
    plain = trainer_of(tmp_path)
    outputs = sampled(trainer, talks[:2]), sampled(plain)
    for name in ("completion_ids", "advantages"):
        assert torch.equal(outputs[0][name], outputs[1][name])


def test_the_table_of_completions(tmp_path):
    pandas = pytest.importorskip("pandas")
    trained(tmp_path, log_completions=True, max_steps=1)
    table = pandas.read_parquet(tmp_path / "completions" / "completions_00001.parquet")
    assert table["iapo/information"].notna().all()
    right = table["correct"] > 0.5
    assert (table["iapo/information"][right] != 0).any()
    assert (table["iapo/information"][~right] == 0).all()


def test_the_command_line(tmp_path):
    import json

    from iapo.integrations.trl.grpo import main, make_parser

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text("\n".join(json.dumps(row) for row in PROBLEMS))
    (tmp_path / "flags.yaml").write_text("alpha: 0.25\nmax_steps: 1\n")
    flags = f"""--model_name_or_path {model_path()} --dtype float32 --dataset_name {tmp_path / "data"}
        --output_dir {tmp_path / "out"} --reward_funcs iapo.rewards.ExactAnswer --num_generations 4
        --per_device_train_batch_size 8 --max_completion_length 32 --use_cpu --bf16 False --report_to none
        --save_strategy no --config {tmp_path / "flags.yaml"} --max_steps 2 --logging_steps 1
        --no_lenient --no_step_lines --no_step_sentences --step_patterns =[0-9]+ (?=Wait)"""
    trainer = main(*make_parser().parse_args_and_config(flags.split(), fail_with_unknown_args=False))
    assert trainer.args.alpha == 0.25
    assert not trainer.args.lenient
    assert trainer.args.steps() == Steps(False, False, ("=[0-9]+", "(?=Wait)"))
    assert trainer.state.global_step == 2
    assert (tmp_path / "out" / "model.safetensors").is_file()
    trainer.create_model_card()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "papers/2602.19049" in card
    assert "iapo" in card


def test_a_trainer_and_a_configuration_of_ones_own(tmp_path):
    """The mixin gives `IAPOTrainer`'s numbers to another subclass of GRPOTrainer."""

    @dataclass
    class OwnConfig(InformationOptions, trl.GRPOConfig):
        penalty: float = 0.0

    class Penalized(trl.GRPOTrainer):
        def _calculate_rewards(self, *args, **kwargs):
            return super()._calculate_rewards(*args, **kwargs) - self.args.penalty

    class OwnTrainer(InformationMixin, Penalized):
        pass

    def weights(name, penalty):
        own = OwnTrainer(
            embedded_model(),
            correct,
            config_of(tmp_path / name, OwnConfig, penalty=penalty, correct_above=0.5 - penalty),
            train_dataset=ours.train_dataset,
            processing_class=TOKENIZER,
        )
        own.train()
        return weights_of(own)

    ours = trained(tmp_path / "iapo")
    assert torch.equal(weights("none", 0.0), weights_of(ours))
    torch.testing.assert_close(weights("some", 0.25), weights_of(ours), atol=1e-4, rtol=0)

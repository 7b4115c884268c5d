"""What is refused before anything is trained, with its reason in one line."""

import pytest
from trainers import (
    PROBLEMS,
    TOKENIZER,
    IAPOConfig,
    config_of,
    correct,
    datasets,
    embedded_model,
    sampled,
    short,
    trainer_of,
    trl,
)

from iapo.advantages import GDPO, GFPO, GivenOutcome, InformationAware, O1Pruner
from iapo.estimators import AnswerLikelihood, EarlyExitEntropy, LeaveOut, NextTokenEntropy, TextBoundaries
from iapo.integrations.trl import IAPOTrainer, InformationMixin
from iapo.rewards import MathAnswer

pytestmark = pytest.mark.filterwarnings("ignore")

MEASURED = {**PROBLEMS[0], "reference_length": 12.0, "reference_accuracy": 0.5}
"""A problem, and what a reference policy does on it."""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"importance_sampling_level": "sequence"}, "importance_sampling_level: got 'sequence', want 'token'"),
        ({"importance_sampling_level": "sequence", "loss_type": "luspo"}, "importance_sampling_level: got 'sequence'"),
        ({"loss_type": "vespo"}, "loss_type: got 'vespo'"),
        ({"off_policy_mask_threshold": 0.5}, "off_policy_mask_threshold: got 0.5, want None"),
        ({"generation_kwargs": {"temperature": 0.5}}, "generation_kwargs: got temperature 0.5"),
        ({"generation_kwargs": {"do_sample": False}}, "generation_kwargs: got do_sample False"),
        ({"generation_kwargs": '{"num_beams": 4}'}, "generation_kwargs: got num_beams 4"),
        ({"generation_kwargs": {"max_time": 1.5}}, "generation_kwargs: got max_time 1.5"),
        ({"generation_kwargs": {"max_new_tokens": 7}}, "generation_kwargs: got max_new_tokens 7"),
        ({"generation_kwargs": {"eos_token_id": 3}}, "generation_kwargs: got eos_token_id 3, and TRL reads where"),
        ({"generation_kwargs": {"stop_token_ids": [3]}}, r"generation_kwargs: got stop_token_ids \[3\]"),
        ({"generation_kwargs": {"stop": ["7"]}, "lenient": False}, r"got stop \['7'\], and a completion that it ends"),
        ({"generation_kwargs": {"stop_strings": "7"}, "lenient": False}, "got stop_strings 7, and a completion"),
        ({"alpha": -0.1}, "alpha: got -0.1"),
    ],
    ids=str,
)
def test_by_the_configuration(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        config_of(tmp_path, **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"correct_reward": "accuracy"}, r"correct_reward: got 'accuracy', want .* \['correct'\]"),
        (
            {"answer": "reference", "answer_column": "solution"},
            r"answer_column: got 'solution', train_dataset has the columns \['answer', 'difficulty', 'prompt'\]",
        ),
        ({"alpha": 0.1, "parts": {"assigner": InformationAware(GivenOutcome())}}, "alpha: set in the configuration"),
        (
            {"probe_at": "sentences", "parts": {"estimator": AnswerLikelihood.from_text(TOKENIZER)}},
            "probe_at: set in the configuration",
        ),
        (
            {"step_lines": False, "parts": {"estimator": AnswerLikelihood.from_text(TOKENIZER)}},
            "step_lines: set in the configuration",
        ),
        (
            {"answer": "reference", "closing": "!", "parts": {"estimator": NextTokenEntropy()}},
            "answer, closing: set in the configuration, and given is NextTokenEntropy, which asks for no answer",
        ),
        (
            {"answer": "reference", "parts": {"assigner": GFPO(2)}},
            "answer: set in the configuration, and given is GFPO, which reads no information; leave it out",
        ),
        (
            {"answer": "reference", "parts": {"estimator": EarlyExitEntropy((1, 2))}},
            "answer: got 'reference', and EarlyExitEntropy measures how sure an answer is, whichever it is",
        ),
        (
            {"answer": "reference", "alpha": 0.0},
            "answer: got 'reference', and InformationAware reads no information",
        ),
        ({"step_patterns": ["=[0-9]+"]}, "step_patterns: set, and probe_at='tokens' asks after every token"),
        (
            {"temperature": 0.7, "parts": {"estimator": AnswerLikelihood.from_text(TOKENIZER)}},
            "estimator.temperature: got 1.0, the sampler's is 0.7",
        ),
        (
            {"parts": {"estimator": AnswerLikelihood.from_text(TOKENIZER), "assigner": InformationAware()}},
            "signal: set in the configuration, and given is AnswerLikelihood and InformationAware",
        ),
        ({"parts": {"assigner": InformationAware(GDPO())}}, "assigner: InformationAware reads each reward by itself"),
        ({"rewards": [correct, short], "parts": {"assigner": GFPO(2)}}, "assigner: GFPO computes the outcome"),
        ({"scale_rewards": "none", "parts": {"assigner": GFPO(2)}}, "scale_rewards: got 'none'"),
        ({"reward_weights": [2.0], "parts": {"assigner": GFPO(2)}}, "reward_weights: got"),
        ({"data": [{**row, "image": "none"} for row in PROBLEMS]}, r"train_dataset: got the columns \['image'\]"),
        (
            {"data": [{**row, "completions": "7"} for row in PROBLEMS]},
            r"train_dataset: got the columns \['completions'\], and by these names TRL gives reward functions",
        ),
        (
            {"rewards": [MathAnswer()], "data": [{"prompt": row["prompt"]} for row in PROBLEMS]},
            r"train_dataset: the reward 'MathAnswer' needs the columns \['answer'\], it has \['prompt'\]",
        ),
        (
            {"answer": "reference", "data": [*PROBLEMS[:3], {**PROBLEMS[3], "answer": None}]},
            "train_dataset: answer: 'reference' needs a reference answer in each row, that of row 3 is 'None'",
        ),
        (
            {"parts": {"assigner": O1Pruner()}},
            r"train_dataset: the assigner needs the columns \['reference_accuracy', 'reference_length'\]",
        ),
        (
            {"parts": {"assigner": O1Pruner()}, "data": [MEASURED, {**MEASURED, "reference_length": None}]},
            "train_dataset: reference_length: .* that of row 1 is None; want a positive number of tokens",
        ),
    ],
    ids=str,
)
def test_by_the_trainer(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        trainer_of(tmp_path, **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("several", [False, True])
def test_data_of_evaluations_are_looked_at_if_they_are_measured(tmp_path, several):
    def trainer(rows, **settings):
        data = datasets.Dataset.from_list(rows)
        return IAPOTrainer(
            embedded_model(),
            short,
            config_of(tmp_path, answer="reference", **settings),
            train_dataset=datasets.Dataset.from_list(PROBLEMS),
            eval_dataset={"hard": data} if several else data,
            processing_class=TOKENIZER,
        )

    which = r"eval_dataset\['hard'\]" if several else "eval_dataset"
    bare = [{"prompt": row["prompt"]} for row in PROBLEMS]
    trainer(bare)
    with pytest.raises(ValueError, match=rf"answer_column: got 'answer', {which} has the columns \['prompt'\]"):
        trainer(bare, information_in_eval=True)
    with pytest.raises(ValueError, match=f"{which}: answer: 'reference' needs .* that of row 1 is ' '"):
        trainer([PROBLEMS[0], {**PROBLEMS[1], "answer": " "}], information_in_eval=True)
    with pytest.raises(ValueError, match=rf"{which}: got the columns \['image'\]"):
        trainer([{**row, "image": "none"} for row in PROBLEMS])


@pytest.mark.parametrize(("batch", "nearest"), [(4, "3 or 6"), (2, "3")])
def test_an_evaluation_that_splits_groups(tmp_path, batch, nearest):
    """TRL looks at it only if ``eval_strategy`` is set."""
    trainer = trainer_of(tmp_path, eval_data=PROBLEMS[:4], num_generations_eval=3, per_device_eval_batch_size=batch)
    with pytest.raises(ValueError, match=rf"got a batch of {batch} .* num_generations_eval \(3\), such as {nearest};"):
        trainer.evaluate()


@pytest.mark.parametrize("score", [float("inf"), -float("inf")])
def test_an_infinite_score_is_named(tmp_path, score):
    """TRL would make advantages of 0 of it, for its whole group."""

    def endless(completions, **_):
        return [0.0, score, None] + [1.0] * (len(completions) - 3)

    trainer = trainer_of(tmp_path, rewards=[short, endless], alpha=0.0)
    with pytest.raises(FloatingPointError, match=r"reward 'endless': got an infinite score for the completions \[1\]"):
        sampled(trainer)


def test_a_loss_that_is_another(tmp_path):
    class OwnLoss(InformationMixin, trl.GRPOTrainer):
        def _compute_loss(self, model, inputs):
            return super()._compute_loss(model, inputs)

    data = trainer_of(tmp_path).train_dataset
    with pytest.raises(ValueError, match="OwnLoss: its loss is not GRPOTrainer's"):
        OwnLoss(embedded_model(), correct, config_of(tmp_path), train_dataset=data, processing_class=TOKENIZER)


def test_a_configuration_without_the_options(tmp_path):
    data = trainer_of(tmp_path).train_dataset
    with pytest.raises(TypeError, match="args: got GRPOConfig, want an IAPOConfig"):
        IAPOTrainer(
            embedded_model(),
            correct,
            config_of(tmp_path, trl.GRPOConfig),
            train_dataset=data,
            processing_class=TOKENIZER,
        )


def test_a_prompt_learning_adapter(tmp_path):
    peft = pytest.importorskip("peft", reason="PEFT is not installed")
    adapter = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with pytest.raises(ValueError, match="peft_config: got PrefixTuningConfig"):
        trainer_of(tmp_path, parts={"peft_config": adapter}, gradient_checkpointing=False)


def test_the_estimator_of_the_configuration_measures_at_the_temperature_of_trl():
    args = IAPOConfig("out", use_cpu=True, bf16=False, report_to="none", temperature=0.7)
    assert args.estimator(TOKENIZER) == LeaveOut(TextBoundaries(TOKENIZER, args.steps()), temperature=0.7)

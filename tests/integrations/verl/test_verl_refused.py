"""What is refused before anything is started, with its reason in one line."""

import subprocess
import sys

import pytest
from verl_jobs import environment, overrides

pytestmark = pytest.mark.filterwarnings("ignore")
ACTOR = "actor_rollout_ref.actor"


def config_of(*more, **names):
    from hydra import compose, initialize_config_module

    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides=overrides(*more, **names))


def trainer_of(config):
    """The class by the name of the configuration, as verl finds it."""
    from verl.trainer.ppo.v1 import get_trainer_cls

    return get_trainer_cls(config.trainer.v1.trainer_mode)(config)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([f"{ACTOR}.strategy=megatron"], "actor.strategy: got megatron, want fsdp2 or fsdp"),
        ([f"{ACTOR}.fsdp_config.ulysses_sequence_parallel_size=2"], "ulysses_sequence_parallel_size: got 2, want 1"),
        (["actor_rollout_ref.model.use_fused_kernels=True"], "use_fused_kernels: got True, want False"),
        ([f"{ACTOR}.policy_loss.loss_mode=geo_mean"], "loss_mode: got geo_mean, want one that reads an advantage for"),
        (["actor_rollout_ref.rollout.temperature=0"], "rollout.temperature: got 0, want a number above 0"),
        (["actor_rollout_ref.rollout.temperature=null"], "rollout.temperature: got None, want a number above 0"),
        (["trainer.use_v1=False"], "trainer.use_v1: got False, want True"),
        (["+iapo.alpah=1"], "iapo: got alpah, want some of alpha,"),
        (["+iapo.temperature=0.5"], "iapo: got temperature, want some of"),
        (["+iapo.signal=entropy"], "iapo.signal: got 'entropy', want one of leave_out, answer_likelihood"),
        (["+iapo.outcome=gae"], "iapo.outcome: got 'gae', want one of grpo,"),
        (["+iapo.alpha=-1"], "iapo.alpha: got -1"),
        (["+iapo.correct_above=high"], "iapo.correct_above: got 'high', want a finite number"),
        (["+iapo.step_lines=no"], "iapo.step_lines: got 'no', want True or False"),
        (["+iapo.correct_reward=5"], "iapo.correct_reward: got 5, want a text or None"),
    ],
    ids=str,
)
def test_by_the_trainer(more, message):
    with pytest.raises((TypeError, ValueError), match=message) as error:
        trainer_of(config_of(*more))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mode", ["sync", "colocate_async", "separate_async"])
def test_a_trainer_that_measures_nothing(mode):
    more = ["data.train_batch_size=4", "trainer.v1.separate_async.parameter_sync_step=1"]
    more += ["actor_rollout_ref.rollout.nnodes=1", "actor_rollout_ref.rollout.checkpoint_engine.backend=nccl"]
    with pytest.raises(ValueError, match=f"trainer_mode: got {mode}, which measures no .* want iapo_{mode}"):
        trainer_of(config_of(*more, mode=mode))


def test_another_advantage_estimator():
    with pytest.raises(ValueError, match="adv_estimator: got grpo, want iapo with trainer_mode=iapo_"):
        trainer_of(config_of(estimator="grpo"))


def test_another_advantage_estimator_is_not_touched():
    assert trainer_of(config_of(estimator="grpo", mode="sync")).trainer_mode == "sync"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["+iapo.assigner={class_path: iapo.advantages.GFPO, init_args: {keep: 2}}", "+iapo.outcome=rloo"],
         "iapo.outcome: set, and GFPO computes the outcome by itself"),
        (["+iapo.assigner={class_path: iapo.advantages.GFPO, init_args: {keep: 2}}",
          "algorithm.norm_adv_by_std_in_grpo=False"], "norm_adv_by_std_in_grpo: set, and GFPO"),
        (["+iapo.assigner={class_path: iapo.advantages.GDPO}"], "iapo.assigner: GDPO reads each reward by itself"),
        (["+iapo.per_group=2"], "iapo.per_group: got 2, want none; verl orders completions by their length"),
        (["+iapo.assigner={class_path: iapo.advantages.Nonsense}"],
         "iapo.assigner: got .* which cannot be made: assigner: no assigner is called 'Nonsense'"),
        (["+iapo.assigner=GFPO"], "cannot be made: assigner: iapo.advantages.GFPO has no default for keep, want"),
        (["+iapo.assigner={class_path: GFPO, init_args: {keep: x}}"], "assigner.keep: got x, want a whole number$"),
        (["+iapo.assigner=nothing.Assigner"], "cannot be made: assigner: there is no module 'nothing'"),
        (["+iapo.assigner={class_path: iapo.advantages.GFPO, init_args: {keep: 2}}", "+iapo.alpha=1"],
         "iapo.alpha: set in the configuration, and given is GFPO"),
        (["actor_rollout_ref.rollout.n=1"],
         "actor_rollout_ref.rollout.n: got 1, want at least 2; iapo.outcome=grpo compares"),
        (["actor_rollout_ref.rollout.n=null"], "actor_rollout_ref.rollout.n: got None, want at least 2"),
        (["actor_rollout_ref.rollout.n=1",
          "+iapo.assigner={class_path: iapo.advantages.GFPO, init_args: {keep: 2}}"], "got 1, .* GFPO compares"),
        (["actor_rollout_ref.rollout.n=1", "+iapo.assigner={class_path: iapo.advantages.InformationAware, "
          "init_args: {outcome: iapo.advantages.RLOO}}"], "got 1, .* RLOO compares"),
        (["+iapo.probe_at=sentences"], "iapo.probe_at: set, and signal='leave_out' asks for no answer"),
        (["+iapo.estimator={class_path: iapo.estimators.AnswerLikelihood, init_args: {temperature: 0.5}}"],
         "iapo.estimator: got temperature=0.5, which follows from actor_rollout_ref.rollout.temperature"),
    ],
    ids=str,
)  # fmt: skip
def test_by_the_parts(more, message):
    trainer = trainer_of(config_of(*more))
    with pytest.raises(ValueError, match=message) as error:
        trainer._init_tokenizer()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "outcome",
    [
        "+iapo.outcome=reinforce_plus_plus",
        "+iapo.assigner={class_path: iapo.advantages.GroupRelative, init_args: {allow_singletons: true}}",
    ],
)
def test_a_baseline_that_needs_no_group(outcome):
    trainer_of(config_of("actor_rollout_ref.rollout.n=1", outcome))._init_tokenizer()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reward_extra_info": {"acc": None}}, "the reward function returned acc=None, want a number"),
        ({"reward_extra_info": {"acc": "yes"}}, "the reward function returned acc='yes', want a number"),
        ({"reward_extra_info": {"right": 1}}, r"got 'acc', the reward function returns \['right'\]; let it return"),
        (None, "got 'acc', the reward function returns a score alone; let it return"),
    ],
)
def test_a_verdict_that_is_no_number(fields, message):
    from iapo.integrations.verl.trainer import _number

    with pytest.raises(ValueError, match=f"^iapo.correct_reward: {message}"):
        _number("acc", fields)


def test_a_plugin_that_does_not_load_says_so():
    code = "import sys; sys.modules['transfer_queue'] = None; import verl"
    done = subprocess.run([sys.executable, "-c", code], env=environment(""), capture_output=True, text=True)
    assert "iapo is not available in verl" in done.stderr
    assert "transfer_queue" in done.stderr


def test_it_is_found_without_being_named():
    code = (
        "import verl\nfrom verl.trainer.ppo.core_algos import get_adv_estimator_fn\n"
        "from verl.trainer.ppo.v1 import get_trainer_cls\n"
        "print(get_trainer_cls('iapo_sync').__name__, get_adv_estimator_fn('iapo').__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment("verl_cpu"), capture_output=True, text=True)
    assert done.stdout.split()[-2:] == ["IAPOTrainerSync", "without_information"], done.stderr[-2000:]

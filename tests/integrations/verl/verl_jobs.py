"""Jobs of verl on a CPU: its configuration for the embedded model, and a run in a process of its own."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from iapo.embedded import generate_problems, model_path, rows

pytest.importorskip("transfer_queue", reason="TransferQueue is not installed", exc_type=ImportError)
pytest.importorskip("verl", reason="verl is not installed", exc_type=ImportError)

HERE = Path(__file__).parent
CHAT = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def environment(modules):
    """Variables under which verl runs on a CPU, with these modules of the tests loaded."""
    path = os.pathsep.join([str(HERE), str(HERE.parents[1]), str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")])
    return os.environ | {
        "PYTHONPATH": path,
        "VERL_PLATFORM": "cpu",
        "VERL_ENGINE_DEVICE": "cuda",
        "VERL_USE_EXTERNAL_MODULES": modules,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": "300",
        "RAY_memory_monitor_refresh_ms": "0",
        # Workers as busy as the rest on a busy machine, and none that nobody asked for.
        "RAY_worker_niceness": "0",
        "RAY_prestart_worker_first_driver": "0",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


def overrides(*more, mode="iapo_sync", estimator="iapo"):
    """What a user would write on the command line of verl."""
    actor, rollout = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
    return [
        f"algorithm.adv_estimator={estimator}",
        f"trainer.v1.trainer_mode={mode}",
        "trainer.device=cpu",
        f"actor_rollout_ref.model.path={model_path()}",
        "actor_rollout_ref.model.use_remove_padding=False",
        "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
        f"{actor}.strategy=fsdp2",
        f"{actor}.fsdp_config.strategy=fsdp2",
        f"{actor}.use_torch_compile=False",
        f"{actor}.fsdp_config.use_torch_compile=False",
        f"++{actor}.fsdp_config.mixed_precision={{param_dtype:fp32,reduce_dtype:fp32,buffer_dtype:fp32}}",
        f"{actor}.ppo_mini_batch_size=4",
        f"{actor}.ppo_micro_batch_size_per_gpu=8",
        f"{actor}.optim.lr=1e-4",
        f"{rollout}.name=hf",
        f"{rollout}.n=4",
        f"{rollout}.log_prob_micro_batch_size_per_gpu=8",
        *more,
    ]


def run_job(folder, *more, steps=3, mode="iapo_sync", estimator="iapo"):
    """Train; the finished process."""
    import pandas

    problems = sorted(rows(generate_problems(64, seed=5)), key=lambda row: row["difficulty"])[:16]
    table = [
        {
            "data_source": "embedded",
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "reward_model": {"style": "rule", "ground_truth": row["answer"]},
            "extra_info": {"index": index},
        }
        for index, row in enumerate(problems)
    ]
    data = folder / "problems.parquet"
    pandas.DataFrame(table).to_parquet(data)
    rollout = "actor_rollout_ref.rollout"
    arguments = overrides(
        "trainer.n_gpus_per_node=1",
        "trainer.nnodes=1",
        f"data.train_files={data}",
        f"data.val_files={data}",
        "data.train_batch_size=4",
        "data.max_prompt_length=16",
        "data.max_response_length=64",
        "data.dataloader_num_workers=0",
        "actor_rollout_ref.model.enable_gradient_checkpointing=False",
        f'actor_rollout_ref.model.custom_chat_template="{CHAT}"',
        f"{rollout}.tensor_model_parallel_size=1",
        f"{rollout}.calculate_log_probs=True",
        f"{rollout}.agent.num_workers=1",
        "reward.num_workers=1",
        f"reward.custom_reward_function.path={HERE / 'verl_reward.py'}",
        f"trainer.total_training_steps={steps}",
        "trainer.val_before_train=False",
        "trainer.logger=[console]",
        "trainer.save_freq=-1",
        "trainer.resume_mode=disable",
        "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
        "ray_kwargs.ray_init.num_cpus=16",
        "+ray_kwargs.ray_init.num_gpus=1",
        "+ray_kwargs.ray_init.include_dashboard=False",
        "+ray_kwargs.ray_init._node_ip_address=127.0.0.1",
        # Paths of sockets are short.
        f"+ray_kwargs.ray_init._temp_dir={tempfile.mkdtemp(prefix='ray')}",
        f"hydra.run.dir={folder}",
        *more,
        mode=mode,
        estimator=estimator,
    )
    return subprocess.run(
        [sys.executable, "-m", "verl.trainer.main_ppo", *arguments],
        env=environment("verl_cpu,verl_hf_rollout,verl_dump") | {"IAPO_DUMP": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
    )

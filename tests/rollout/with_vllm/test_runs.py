"""The loop and the command line with the sampler: the gap is logged, weights correct for it, a run resumes bitwise."""

import dataclasses
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import torch
from engines import BOUND, gap, moved, needs_vllm, sampler_of, tokenizer, wide
from servers import between

from iapo.advantages import InformationAware
from iapo.cli import main
from iapo.embedded import generate_problems, rows
from iapo.estimators import AnswerLikelihood
from iapo.losses import ClippedPolicyLoss
from iapo.optimizers import ClippedOptimizer
from iapo.rewards import ExactAnswer
from iapo.rewards.limit import within
from iapo.rollout.vllm import handover, local
from iapo.training.components import Components, UpdateSettings
from iapo.training.loop import update

pytestmark = needs_vllm


def updated(loss, steps=1, **settings):
    """The metrics of updates of the wide embedded model."""
    torch.manual_seed(0)
    model, names = wide(), tokenizer()
    components = Components(
        sampler_of(model, 64, **settings),
        {"exact": ExactAnswer()},
        AnswerLikelihood.from_text(names, temperature=settings.get("temperature", 1.0)),
        InformationAware(),
        loss,
        ClippedOptimizer(torch.optim.AdamW(model.parameters(), lr=1e-3)),
    )
    problems = rows(generate_problems(4, seed=1))
    return [update(problems, model, names, components, UpdateSettings(4, 8)) for _ in range(steps)]


def test_the_gap_is_logged_and_is_rounding_after_every_update():
    for metrics in updated(ClippedPolicyLoss(), steps=3):
        assert metrics["sampling/logp_difference"] <= metrics["sampling/logp_difference_max"] < 1e-4


def test_a_gap_of_precision_shows_and_is_corrected():
    (metrics,) = updated(ClippedPolicyLoss(sampler_ratio_cap=2.0), dtype="bfloat16")
    assert 1e-4 < metrics["sampling/logp_difference"] < 0.2
    assert metrics["sampling/importance_sampling_ratio/mean"] == pytest.approx(1.0, abs=0.2)
    assert metrics["sampling/importance_sampling_ratio/mean"] != 1.0


def test_without_log_probabilities_there_is_no_gap_and_no_correction():
    (metrics,) = updated(ClippedPolicyLoss(), temperature=0.7, top_p=0.9)
    assert "sampling/logp_difference" not in metrics
    with pytest.raises(ValueError, match="sampler_logprobs: got None"):
        updated(ClippedPolicyLoss(sampler_ratio_cap=2.0), temperature=0.7, top_p=0.9)


def lines(folder):
    """The metrics of a run without its times."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if "time" not in name} for line in found]


def run(model, folder, sampler, steps, *more):
    """A run of the command line in this process."""
    settings = {"prompts_per_step": 3, "group_size": 4, "eval_problems": 2, "eval_samples": 1, "diagnose": 2}
    settings |= {"loss": {"sampler_ratio_cap": 2}, "optimizer": {"lr": 1e-3}, "sampler": sampler}
    config = folder.parent / "run.yaml"
    config.write_text(json.dumps(settings))
    places = ["--model", str(model), "--output", str(folder)]
    return main(["train", "--config", str(config), *places, "--steps", str(steps), *more])


@pytest.mark.parametrize("name", ["VLLMSampler", "VLLMServerSampler"])
def test_a_run_of_the_command_line_resumes_bit_for_bit(request, tmp_path, wide_folder, name, capsys):
    settings = {"max_new_tokens": 32}
    if name == "VLLMSampler":
        settings |= {"enforce_eager": True, "cache_gib": 0.0625}
    else:
        settings |= {"url": request.getfixturevalue("server"), "weights_folder": str(tmp_path / "weights")}
    sampler = {"class_path": name, "init_args": settings}
    run(wide_folder, tmp_path / "whole", sampler, 2)
    run(wide_folder, tmp_path / "parts", sampler, 1)
    run(wide_folder, tmp_path / "parts", sampler, 2, "--resume")
    capsys.readouterr()
    assert len(lines(tmp_path / "whole")) == 2
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


def test_a_server_that_goes_ends_the_run_which_then_resumes_bit_for_bit(tmp_path, server, wide_folder, capsys):
    """It goes while the second update is sampled; the checkpoint of the first is as it was."""
    answered = []

    def change(path, payload, ask):
        if path == "/inference/v1/generate":
            answered.append(path)
            if gone_after is not None and len(answered) > gone_after:
                return None
        return ask()

    with between(server, change) as url:
        settings = {"max_new_tokens": 32, "url": url, "weights_folder": str(tmp_path / "weights")}
        sampler = {"class_path": "VLLMServerSampler", "init_args": settings}
        gone_after = None
        run(wide_folder, tmp_path / "first", sampler, 1, "--checkpoint_every", "1")
        one = len(answered)
        answered.clear()
        run(wide_folder, tmp_path / "whole", sampler, 2, "--checkpoint_every", "1")
        answered.clear()
        gone_after = one  # which counts the evaluation after training, as many requests as part of an update
        assert run(wide_folder, tmp_path / "parts", sampler, 2, "--checkpoint_every", "1") == 1
        assert "failed while sampling" in capsys.readouterr().err
        gone_after = None
        run(wide_folder, tmp_path / "parts", sampler, 2, "--checkpoint_every", "1", "--resume")
    capsys.readouterr()
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


def test_two_processes_share_a_server(tmp_path, server, wide_folder):
    """With weights that are sharded; the first that finds others at the server hands them over."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "iapo.cli"]
    command += ["train", "--model", str(wide_folder), "--output", str(tmp_path / "run"), "--steps", "1"]
    command += ["--prompts_per_step", "3", "--group_size", "4", "--eval_problems", "2", "--eval_samples", "1"]
    command += ["--shard", "true", "--sampler", "VLLMServerSampler", "--sampler.url", server]
    command += ["--sampler.max_new_tokens", "32", "--sampler.weights_folder", str(tmp_path / "weights")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [line["sampling/logp_difference_max"] < BOUND for line in lines(tmp_path / "run")] == [True]


@pytest.mark.filterwarnings("ignore:Unclosed context:ResourceWarning")  # vLLM's, of the engine that died
def test_on_a_rank_the_engine_is_a_process_of_its_own(monkeypatch, tmp_path):
    """Which knows nothing of the ranks, gets weights all the same, and is not waited for when it died."""
    monkeypatch.setattr(local, "several_ranks", lambda: True)
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    # For the weights alone: vLLM's sockets, whose paths must be short, stay where they are.
    monkeypatch.setattr(handover, "tempfile", SimpleNamespace(gettempdir=lambda: str(tmp_path)))
    sampler = sampler_of(wide())
    for model in (sampler.model, moved(sampler.model, 0.5)):
        torch.manual_seed(0)
        assert gap(model, dataclasses.replace(sampler, model=model)(["1+2=", "3*4="], 4)) < BOUND
        assert [path.name for path in tmp_path.glob("iapo-engines-*/*")] == ["0.lock"]
    assert os.environ["WORLD_SIZE"] == "2"
    llm = sampler.engine._llm
    generate, (process,) = llm.generate, llm.llm_engine.engine_core.resources.engine_manager.processes

    def dying(*arguments, **options):
        os.kill(process.pid, signal.SIGSTOP)  # so that it cannot have finished when it is killed
        threading.Timer(1, os.kill, (process.pid, signal.SIGKILL)).start()
        return generate(*arguments, **options)

    monkeypatch.setattr(llm, "generate", dying)
    with pytest.raises(RuntimeError, match=r"vLLM failed while sampling: its process ended, .*--resume"):
        within(200, lambda: dataclasses.replace(sampler, model=model)(["1+2="], 4))
    gc.collect()

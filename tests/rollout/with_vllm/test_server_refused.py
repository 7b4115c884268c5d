"""What a sampler with a server refuses, and the error that says so and what to start."""

import dataclasses
import time
from pathlib import Path

import pytest
import torch
from engines import PROMPTS, moved, needs_vllm, tokenizer, wide
from ports import held_port
from servers import between
from transformers import AutoModelForCausalLM

from iapo.embedded import model_path
from iapo.policy.forward import UnsupportedModelError
from iapo.rollout import VLLMServerSampler

pytestmark = needs_vllm


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "localhost:8000"}, "url: got 'localhost:8000', want one such as http://localhost:8000"),
        ({"timeout": 0}, "timeout: got 0, want a positive number of seconds"),
        ({"temperature": 3.0}, "temperature: got 3.0, vLLM takes 0 and numbers from 0.01 to 2"),
    ],
)
def test_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        VLLMServerSampler(wide(), tokenizer(), 8, **settings)


def test_no_server_says_how_to_start_one():
    with held_port() as port:
        sampler = VLLMServerSampler(wide(), tokenizer(), 8, url=f"http://localhost:{port}", temperature=0.7)
        wanted = rf"no vLLM server answers .*{port} \(Connection refused\); "
        wanted += rf"start it: VLLM_SERVER_DEV_MODE=1 vllm serve .*--port {port} --tokens-only .*PolicyWorker "
        wanted += "--dtype float32 --logprobs-mode processed_logprobs"
        with pytest.raises(RuntimeError, match=wanted):
            sampler(PROMPTS, 1)


def changed(**facts):
    """Lets a server say other facts of itself."""

    def change(path, payload, ask):
        answer = ask()
        if (payload or {}).get("method") == "policy_facts":
            answer["results"][0] |= facts
        return answer

    return change


def instead(wanted, status, message):
    """Lets a server answer requests of a path with an error."""
    return lambda path, payload, ask: (status, {"error": {"message": message}}) if path == wanted else ask()


NOT_THERE = "Worker failed with error ''CPUWorker' object has no attribute 'policy_facts''"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (changed(dtype="bfloat16"), ValueError, "dtype: the server .* computes in bfloat16, want float32; start it"),
        (changed(logprobs_mode="raw_logprobs"), ValueError, "gives raw_logprobs, want processed_logprobs .*--logprobs"),
        (changed(max_num_seqs=1), ValueError, "group_size: got 2, .* at most 1 completions .*--max-num-seqs 2"),
        (changed(max_model_len=20), ValueError, r"prompts\[0\]: has 8 tokens, .* more than 20 positions"),
        (instead("/collective_rpc", 404, "Not Found"), RuntimeError, "without its development mode.*VLLM_SERVER_DEV_M"),
        (instead("/collective_rpc", 500, NOT_THERE), RuntimeError, "was started without --worker-extension-cls iapo"),
        (instead("/inference/v1/generate", 403, "with --enable-scale-out"), RuntimeError, "sampling: .*scale-out"),
    ],
)
def test_a_server_that_is_not_as_it_should_be(server, served, change, error, message):
    with between(server, change) as url, pytest.raises(error, match=message) as caught:
        dataclasses.replace(served, url=url, temperature=0.7, engine=None)(PROMPTS, 2)
    assert "\n" not in str(caught.value)


def test_another_model(served):
    model = AutoModelForCausalLM.from_pretrained(model_path())
    with pytest.raises(
        ValueError, match=r"the server at .* has head_dim 32, the policy 24; start it with the policy's"
    ):
        dataclasses.replace(served, model=model)(PROMPTS, 1)


def test_a_prompt_that_does_not_fit_is_named_before_anything_is_sampled(served):
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match=r"prompts\[1\]: has 7 tokens, .* 256 positions"):
        dataclasses.replace(served, max_new_tokens=250)([[5] * 6, [5] * 7], 1)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_folder_that_the_server_does_not_see(server, served):
    """The file is gone before the server looks for it, as on another machine it never was."""

    def change(path, payload, ask):
        if (payload or {}).get("method") == "load_policy":
            Path(payload["args"][0]).unlink()
        return ask()

    model = moved(served.model)
    with (
        between(server, change) as url,
        pytest.raises(RuntimeError, match=r"weights_folder: the server .* does not see /.*/weights; name a folder"),
    ):
        dataclasses.replace(served, model=model, url=url, engine=None)(PROMPTS, 1)
    assert len(served(PROMPTS, 1)) == 3


def test_a_folder_that_cannot_be_written(served):
    with pytest.raises(ValueError, match=r"weights_folder: /dev/null/x cannot be used \(Not a directory\)"):
        dataclasses.replace(served, weights_folder="/dev/null/x", engine=None)(PROMPTS, 1)


def test_weights_that_do_not_reach_the_engine(server, served):
    """The server says that it has them, and samples from others."""
    served(PROMPTS, 1)
    said = {}

    def change(path, payload, ask):
        method = (payload or {}).get("method")
        if method == "load_policy":
            said["policy"] = payload["args"][1]
            return {"results": [None]}
        answer = ask()
        if method == "policy_facts":
            answer["results"][0] |= said
        return answer

    with between(server, change) as url:
        sampler = dataclasses.replace(served, model=moved(served.model, 2.0), url=url, engine=None)
        for _ in range(2):
            with pytest.raises(UnsupportedModelError, match=r"differ from the policy's by \d"):
                sampler(PROMPTS, 1)


def test_weights_that_another_run_hands_over_in_the_middle(server, served):
    other = dataclasses.replace(served, model=moved(served.model), engine=None)
    turns = []

    def change(path, payload, ask):
        if path == "/inference/v1/generate" and payload["sampling_params"]["n"] == 2 and not turns:
            turns.append(path)
            other(PROMPTS, 1)
        return ask()

    with between(server, change) as url:
        sampler = dataclasses.replace(served, url=url, engine=None)
        with pytest.raises(RuntimeError, match="was handed other weights while it sampled; give each run a server"):
            sampler(PROMPTS, 2)
        assert len(sampler(PROMPTS, 2)) == 6


def test_a_server_that_dies_in_the_middle(server, served):
    with between(server, lambda path, payload, ask: None if path == "/inference/v1/generate" else ask()) as url:
        sampler = dataclasses.replace(served, url=url, engine=None)
        with pytest.raises(RuntimeError, match=r"vLLM server at .* failed while sampling: .*--resume"):
            sampler(PROMPTS, 2)


def test_a_server_that_does_not_answer_in_time(server, served):
    def change(path, payload, ask):
        if path == "/inference/v1/generate":
            time.sleep(1.5)
        return ask()

    with between(server, change) as url:
        sampler = dataclasses.replace(served, url=url, timeout=0.5, engine=None)
        with pytest.raises(RuntimeError, match=r"no answer within 0.5 s"):
            sampler(PROMPTS, 2)


def test_weights_and_logits_that_are_not_finite(served):
    model = wide()
    model.model.layers[1].mlp.up_proj.weight.data[3, 4] = torch.inf
    with pytest.raises(FloatingPointError, match=r"model.layers.1.mlp.up_proj.weight holds NaN or infinite"):
        dataclasses.replace(served, model=model)(PROMPTS, 1)
    model = wide()
    model.model.embed_tokens.weight.data.mul_(1e10)
    model.model.norm.weight.data.mul_(1e30)
    with pytest.raises(FloatingPointError, match="its logits in vLLM are NaN or infinite"):
        dataclasses.replace(served, model=model)(PROMPTS, 1)
    assert len(served(PROMPTS, 1)) == 3

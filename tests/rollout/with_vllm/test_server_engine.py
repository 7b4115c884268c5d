"""What passes between an engine that is a server and the server, with a stand-in that needs no vLLM."""

import dataclasses
import errno
import fcntl
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from engines import moved, tokenizer, wide
from ports import held_port
from servers import StandIn, between

from iapo.rollout import VLLMServerSampler
from iapo.rollout.vllm import client, handover
from iapo.rollout.vllm.handover import free_folder, written
from iapo.rollout.vllm.server import ServerEngine

WEIGHTS = {"weight": torch.arange(3000.0)}


@pytest.fixture(scope="module")
def model():
    return wide()


def engine_of(url, folder, timeout=30.0, max_batch=None):
    return ServerEngine(url, folder, "auto", timeout, max_batch, "processed_logprobs")


@contextmanager
def standing_in(model, folder, change=None, **settings):
    """An engine and its server.

    Args:
        model: of the server.
        folder: for weights.
        change: is given the server, a path, a payload and a function that answers it; returns what is answered instead.
        settings: of the engine.
    """
    server = StandIn(model)

    def changed(path, payload, ask):
        return change(server, path, payload, lambda: server(path, payload, ask))

    with between("", server if change is None else changed) as url:
        yield engine_of(url, folder, **settings), server


def asks_facts(payload):
    return (payload or {}).get("method") == "policy_facts"


def files(folder):
    return [path for path in folder.rglob("*") if path.suffix != ".lock"]


def parameters(n, seeds):
    return [{"n": n, "seed": seed} for seed in seeds]


def test_two_servers_do_not_share_a_file(model, tmp_path):
    """One run hands the same weights over while another does, to another server through the same folder."""
    with standing_in(model, tmp_path) as (other, second):

        def meanwhile(server, path, payload, answer):
            if payload and payload.get("method") == "load_policy":
                other.load(model)
            return answer()

        with standing_in(model, tmp_path, meanwhile) as (engine, first):
            engine.load(model)
    assert [len(each.paths) for each in (first, second)] == [1, 1]
    assert not files(tmp_path)


def test_what_a_killed_run_left_goes_before_more_is_written(model, tmp_path):
    """Also a file that it had not finished; those of another server stay."""
    with standing_in(model, tmp_path) as (engine, server):
        engine.load(model)
        left = server.paths[0].parent
        left.mkdir()
        (left / ".tmp123").touch()
        (left / "policy.safetensors").touch()
        others = tmp_path / "0123456789abcdef"
        others.mkdir()
        engine.load(moved(model))
        assert server.facts["loads"] == 2
    assert files(tmp_path) == [others]


def test_what_a_killed_process_left_goes_with_the_next(tmp_path, monkeypatch):
    """Which does not wait for one that is alive."""
    program = """if True:
        import os, signal, torch
        from iapo.rollout.vllm.handover import free_folder, written
        with free_folder() as folder, written({"weight": torch.ones(3)}, folder, "") as path:
            print(path, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = Path(done.stdout.strip())
    assert left.is_file()
    monkeypatch.setattr(handover.tempfile, "tempdir", str(tmp_path))
    with free_folder() as first, free_folder() as second:
        assert first == left.parent != second
        (first / ".tmp123").touch()
        with written(WEIGHTS, first, "") as path, written(WEIGHTS, second, "") as other:
            assert set(files(first.parent)) == {first, second, path, other}
    assert not files(first.parent)


@contextmanager
def full():
    """No file may be larger than a thousand bytes, as on a disk that has no more room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_says_where_and_what_to_do(model, tmp_path):
    with standing_in(model, tmp_path) as (engine, server):
        with (
            full(),
            pytest.raises(OSError, match=rf"{tmp_path}/\w+: could not be written: .*large.*weights_folder.*--res"),
        ):
            engine.load(model)
        assert not files(tmp_path)
        engine.load(model)
        assert len(server.paths) == 1


def test_a_file_system_without_locks(model, tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        standing_in(model, tmp_path) as (engine, _),
        pytest.raises(ValueError, match=rf"weights_folder: {tmp_path} cannot be used \(No locks .* that has locks"),
    ):
        engine.load(model)
    monkeypatch.setattr(handover.tempfile, "tempdir", str(tmp_path))
    with (
        pytest.raises(OSError, match=r"iapo-engines-\d+: cannot be used .*\(No locks available\).* \(TMPDIR\)"),
        free_folder(),
    ):
        pass


@pytest.mark.parametrize(
    ("most", "sizes"), [(None, [5]), (7, [5]), (5, [5]), (3, [3, 2]), (2, [2, 2, 1]), (1, [1] * 5)]
)
def test_no_more_completions_are_asked_for_at_once_than_was_said(model, tmp_path, most, sizes):
    """A part of a group has the seed that vLLM gives its first completion in the whole."""
    running, counts = [], []

    def change(server, path, payload, answer):
        if path != "/inference/v1/generate":
            return answer()
        running.append(payload["sampling_params"]["n"])
        counts.append(sum(running))
        time.sleep(0.05)
        running.remove(payload["sampling_params"]["n"])
        return answer()

    with standing_in(model, tmp_path, change, max_batch=most) as (engine, server):
        engine.load(model)
        found = engine.answer([[3], [4]], parameters(5, [100, 200]))
    assert max(counts) <= (most or 10)
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    assert sorted(server.asked) == [
        ([token], seed + start, size)
        for token, seed in ((3, 100), (4, 200))
        for start, size in zip(starts, sizes, strict=True)
    ]
    assert [[ids for ids, _ in rows] for rows in found] == [[[3]] * 5, [[4]] * 5]
    assert [value for _, (value,) in found[0]] == [-1.0 - index for size in sizes for index in range(size)]


def test_one_greedy_completion_has_no_seed(model, tmp_path):
    with standing_in(model, tmp_path, max_batch=1) as (engine, server):
        engine.load(model)
        engine.complete([[3]], [1], 4, 2, temperature=0.0)
    assert server.asked == [([3], None, 1)]


def test_a_group_that_the_server_does_not_take_at_once(model, tmp_path):
    with standing_in(model, tmp_path) as (engine, _):
        engine.load(model)
        with pytest.raises(ValueError, match=r"group_size: got 9, .*at most 8 .*--max-num-seqs 9, .*\(max_batch 8\)"):
            engine.answer([[3]], parameters(9, [1]))
        fewer = dataclasses.replace(engine, max_batch=8)
        fewer.load(model)
        assert len(fewer.answer([[3]], parameters(9, [1]))[0]) == 9


def test_a_server_that_takes_no_connection(model, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "_CONNECT", 0.3)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = []
        try:
            for _ in range(3):  # more than it lets wait
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(listening.getsockname())
            engine = engine_of(f"http://127.0.0.1:{listening.getsockname()[1]}", tmp_path)
            with pytest.raises(RuntimeError, match=r"no vLLM server answers at .*\(no connection within 0.3 s\)"):
                engine.load(model)
        finally:
            for each in waiting:
                each.close()


def test_a_server_that_hangs_is_not_waited_for_as_for_completions(model, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "_SHORT", 0.3)

    def change(server, path, payload, answer):
        time.sleep(1.5)
        return answer()

    with (
        standing_in(model, tmp_path, change) as (engine, _),
        pytest.raises(RuntimeError, match=r"no vLLM server answers at .*\(no answer within 0.3 s\)"),
    ):
        engine.load(model)


def test_a_handover_may_take_longer_than_an_answer_about_itself(model, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "_SHORT", 0.3)

    def change(server, path, payload, answer):
        if payload and payload.get("method") == "load_policy":
            time.sleep(1.0)
        return answer()

    with standing_in(model, tmp_path, change) as (engine, server):
        engine.load(model)
    assert server.facts["loads"] == 1


def test_a_server_is_not_asked_about_itself_while_another_process_hands_weights_over(model, tmp_path, monkeypatch):
    """Its workers would answer late."""
    monkeypatch.setattr(client, "_SHORT", 0.5)
    at_work, begun = threading.Lock(), threading.Event()

    def change(server, path, payload, answer):
        if path != "/collective_rpc":
            return answer()
        with at_work:
            if payload["method"] == "load_policy":
                begun.set()
                time.sleep(1.5)
            return answer()

    with standing_in(model, tmp_path, change) as (engine, server), ThreadPoolExecutor() as threads:
        first = threads.submit(engine.load, model)
        begun.wait()
        engine_of(engine.url, tmp_path).load(model)
        first.result()
    assert server.facts["loads"] == 1


@pytest.mark.parametrize("url", ["http://a:port", "http://a:99999", "http://", "http://[::1", "http://a:0"])
def test_an_address_that_is_none(model, url):
    with pytest.raises(ValueError, match=r"url: got 'http://.*', want one such as http://localhost:8000"):
        VLLMServerSampler(model, tokenizer(), 8, url=url)


def of_another_version(facts):
    return {"results": [{name: value for name, value in facts.items() if name != "loads"}]}


def of_another_shape(facts):
    return {"results": [facts | {"shape": {}}]}


@pytest.mark.parametrize(
    "answered",
    [
        *({"hello": 1}, {"results": []}, {"results": 3}, {"results": [None]}, [], None, "text", b"<html>"),
        *(of_another_version, of_another_shape),
    ],
    ids=lambda answered: getattr(answered, "__name__", str(answered)),
)
def test_an_answer_about_itself_that_vllm_would_not_give(model, tmp_path, answered):
    def change(server, path, payload, answer):
        return 200, answered(server.facts) if callable(answered) else answered

    with (
        standing_in(model, tmp_path, change) as (engine, _),
        pytest.raises(RuntimeError, match=r"url: the server .* is none of vLLM, or of another version .*vllm serve"),
    ):
        engine.load(model)


@pytest.mark.parametrize(
    "answered",
    [
        *({"hello": 1}, {"choices": 3}, {"choices": [{}]}, {"choices": [3]}),
        {"choices": [{"index": 0, "finish_reason": "stop", "logprobs": None}]},
        {"choices": [{"index": 0, "finish_reason": "stop", "logprobs": {"content": [{}]}}]},
    ],
    ids=str,
)
def test_completions_that_vllm_would_not_give(model, tmp_path, answered):
    def change(server, path, payload, answer):
        return answered if path == "/inference/v1/generate" else answer()

    with standing_in(model, tmp_path, change) as (engine, _):
        engine.load(model)
        with pytest.raises(
            RuntimeError, match=r"failed while sampling: it is none of vLLM, or of another ver.*vllm ser"
        ):
            engine.answer([[3]], parameters(1, [1]))


def test_a_server_that_goes_between_the_completions_and_the_question_after_them(model, tmp_path):
    def change(server, path, payload, answer):
        return None if asks_facts(payload) and server.asked else answer()

    with standing_in(model, tmp_path, change) as (engine, _):
        engine.load(model)
        with pytest.raises(RuntimeError, match=r"failed while sampling: .*--resume.*vllm serve"):
            engine.answer([[3]], parameters(1, [1]))


def test_a_server_that_goes_behind_a_handover(model, tmp_path):
    def change(server, path, payload, answer):
        return None if asks_facts(payload) and server.paths else answer()

    with (
        standing_in(model, tmp_path, change) as (engine, _),
        pytest.raises(RuntimeError, match=r"failed while it was handed the policy's weights: .*--resume.*vllm ser"),
    ):
        engine.load(model)


def test_a_server_that_goes_between_two_calls(model, tmp_path):
    with standing_in(model, tmp_path) as (engine, _):
        engine.load(model)
    with pytest.raises(
        RuntimeError, match=r"url: no vLLM server answers at .*start it \(and .* --resume\): .*vllm serve"
    ):
        engine.load(model)
    with held_port() as port, pytest.raises(RuntimeError, match=r"url: no vLLM server answers at .*; start it: "):
        engine_of(f"http://127.0.0.1:{port}", tmp_path).load(model)

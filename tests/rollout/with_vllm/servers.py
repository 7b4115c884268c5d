"""A vLLM server on this machine for tests, one that changes what another answers, and one that needs no vLLM."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ports import held_port

from iapo.rollout.vllm.worker import NOT_THERE, SHAPE

QUICK = ["--enforce-eager", "--kv-cache-memory-bytes", str(2**26)]
"""Arguments of a server that starts within seconds."""


@contextmanager
def running(folder, *more):
    """A server of the model in a folder: its address and its process, which is ended after the block."""
    log = folder.parent / "server.log"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--tokens-only", "--worker-extension-cls", "iapo.rollout.vllm.PolicyWorker", "--dtype", "float32"]
    command += ["--logprobs-mode", "processed_logprobs", *QUICK, *more]
    with held_port() as port:
        with log.open("w") as out:
            environment = os.environ | {"VLLM_SERVER_DEV_MODE": "1"}
            command += ["--port", str(port)]
            process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)
        url = f"http://127.0.0.1:{port}"
        try:
            while not _healthy(url):
                assert process.poll() is None, log.read_text()[-2000:]
                time.sleep(0.2)
            yield url, process
        finally:
            process.terminate()
            process.wait()


def _healthy(url):
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@contextmanager
def between(url, change):
    """The address of a server that passes requests on to another, and changes what is answered.

    Args:
        url: of the other.
        change: is given the path and the payload of each request and a function that passes it on and returns the
            answer; returns what is answered: an answer, a status with one, bytes, or ``None`` to hang up.
    """

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            self.do_POST()

        def do_POST(self):
            data = self.rfile.read(int(self.headers.get("Content-Length", 0))) if self.command == "POST" else None

            def ask():
                request = urllib.request.Request(url + self.path, data, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request) as answer:
                    return json.loads(answer.read() or "null") or {}

            try:
                found = change(self.path.partition("?")[0], json.loads(data or "null"), ask)
            except urllib.error.HTTPError as error:
                found = error.code, json.loads(error.read())
            if found is None:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status, found = found if isinstance(found, tuple) else (200, found)
            body = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}"
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()


class StandIn:
    """Answers as a vLLM server of a model does, for `between`: it notes what it is asked, and samples one token.

    Args:
        model: of which it says to have one of the same shape.
    """

    def __init__(self, model):
        shape = {name: getattr(model.config, name, None) for name in SHAPE}
        self.facts = {"dtype": "float32", "max_model_len": 256, "logprobs_mode": "processed_logprobs"}
        self.facts |= {"max_num_seqs": 8, "shape": shape, "policy": "", "loads": 0}
        self.paths, self.asked = [], []

    def __call__(self, path, payload, ask):
        return getattr(self, path.strip("/").replace("/", "_"))(payload)

    def collective_rpc(self, payload):
        if payload["method"] == "policy_facts":
            return {"results": [self.facts]}
        path, self.facts["policy"] = payload["args"]
        if not Path(path).is_file():
            return 500, {"error": {"message": NOT_THERE}}
        self.facts["loads"] += 1
        self.paths.append(Path(path))
        return {"results": [None]}

    def is_paused(self, payload):
        return {"is_paused": False}

    def pause(self, payload):
        return {}

    resume = inference_v1_abort_requests = pause

    def inference_v1_generate(self, payload):
        wanted = payload["sampling_params"]
        self.asked.append((payload["token_ids"], wanted["seed"], wanted["n"]))
        token = payload["token_ids"][0]
        logprobs = [{"content": [{"token_id": token, "logprob": -1.0 - index}]} for index in range(wanted["n"])]
        choices = [{"index": i, "finish_reason": "stop", "logprobs": each} for i, each in enumerate(logprobs)]
        return {"choices": choices[::-1]}

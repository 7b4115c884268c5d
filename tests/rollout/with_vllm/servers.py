"""A vLLM server on this machine for tests, and a stand-in that passes requests on and changes what is answered."""

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

QUICK = ["--enforce-eager", "--kv-cache-memory-bytes", str(2**26)]
"""Arguments of a server that starts within seconds."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def running(folder, *more):
    """A server of the model in a folder: its address and its process, which is ended after the block."""
    port = free_port()
    log = folder.parent / "server.log"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--port", str(port)]
    command += ["--tokens-only", "--worker-extension-cls", "iapo.rollout.vllm.PolicyWorker", "--dtype", "float32"]
    command += ["--logprobs-mode", "processed_logprobs", *QUICK, *more]
    with log.open("w") as out:
        environment = os.environ | {"VLLM_SERVER_DEV_MODE": "1"}
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
            answer; returns what is answered: an answer, a status with one, or ``None`` to hang up.
    """

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            self.do_POST()

        def do_POST(self):
            data = self.rfile.read(int(self.headers.get("Content-Length", 0))) if self.command == "POST" else None
            request = urllib.request.Request(url + self.path, data, {"Content-Type": "application/json"})

            def ask():
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
            body = json.dumps(found).encode()
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

"""Requests to a vLLM server: one, or all of a batch at once, and what its errors say."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

_CONNECT, _SHORT = 10, 60
"""Seconds until a server that does not take a connection, or does not answer a question about itself, is given up."""

_GENERATE = "/inference/v1/generate"


class UnreachableError(RuntimeError):
    """No server answers at an address."""


class RefusedError(RuntimeError):
    """A server answered with an error.

    Args:
        status: of HTTP.
        told: what it said.
    """

    def __init__(self, status: int, told: str) -> None:
        super().__init__(f"{told} (HTTP {status})")
        self.status = status
        self.told = told


class UnknownAnswerError(RuntimeError):
    """A server answered something else than vLLM does, or than its workers of this version do."""


@dataclass(frozen=True)
class Client:
    """Talks to a vLLM server.

    Args:
        url: where it is, ``http://host:port``.
        timeout: seconds that an answer to a long request may take.
    """

    url: str
    timeout: float

    def ask(self, path: str, payload: Mapping[str, Any] | None = None, long: bool = False, **query: str) -> Any:
        """The JSON that the server answers with: to a POST of the payload, or to a GET if there is none.

        Args:
            path: where.
            payload: of the POST.
            long: wait as long as `timeout` says, not as long as an answer to a short question may take.
            query: of the address.

        Raises:
            UnreachableError: no connection, or none any more, or no answer in time.
            RefusedError: an error.
            UnknownAnswerError: an answer that is no JSON.
        """
        import requests

        wanted = (_CONNECT, self.timeout if long else _SHORT)
        try:
            if payload is None:
                answer = requests.get(self.url + path, params=query, timeout=wanted)
            else:
                answer = requests.post(self.url + path, params=query, json=payload, timeout=wanted)
        except requests.ConnectTimeout as error:
            raise UnreachableError(f"no connection within {_CONNECT} s") from error
        except requests.Timeout as error:
            raise UnreachableError(f"no answer within {wanted[1]:g} s") from error
        except requests.RequestException as error:
            raise UnreachableError(_cause(error)) from error
        if not answer.ok:
            raise RefusedError(answer.status_code, _told(answer))
        try:
            return answer.json()
        except ValueError as error:
            raise UnknownAnswerError(f"its answer to {path} is no JSON") from error

    def workers(self, method: str, *arguments: str, long: bool = False) -> list[Any]:
        """What each worker of the server, one at least, returns of one of its methods (``/collective_rpc``)."""
        found = member(self.ask("/collective_rpc", {"method": method, "args": arguments}, long), "results")
        if not isinstance(found, list) or not found:
            raise UnknownAnswerError(f"no worker answers to {method}")
        return found

    def generate(self, payloads: Sequence[Mapping[str, Any]], at_once: int) -> list[Any]:
        """The completions of requests, in their order; if one fails, or the call is interrupted, all end.

        Args:
            payloads: of ``/inference/v1/generate``.
            at_once: requests that the server has at a time.
        """
        call = uuid.uuid4().hex
        names = [f"{call}-{index}" for index in range(len(payloads))]
        with ThreadPoolExecutor(min(at_once, len(payloads)), thread_name_prefix="vllm") as threads:
            with self._aborting(names, lambda: threads.shutdown(wait=False, cancel_futures=True)):
                jobs = [
                    threads.submit(self.ask, _GENERATE, {**payload, "request_id": name}, True)
                    for name, payload in zip(names, payloads, strict=True)
                ]
                for job in wait(jobs, return_when=FIRST_EXCEPTION).done:
                    job.result()
            return [member(job.result(), "choices") for job in jobs]

    @contextmanager
    def _aborting(self, names: Sequence[str], cancel: Callable[[], None]) -> Iterator[None]:
        """A block that, if it ends early, ends the requests at the server, and so the threads that wait for them."""
        try:
            yield
        except BaseException:
            cancel()
            prefixed = [f"generate-tokens-{name}" for name in names]
            with suppress(RuntimeError):  # A server that is gone has none of them.
                self.ask("/inference/v1/abort_requests", {"request_ids": prefixed})
            raise


def member(answer: Any, name: str) -> Any:
    """What an answer has under a name.

    Raises:
        UnknownAnswerError: it has nothing there.
    """
    try:
        return answer[name]
    except (KeyError, TypeError) as error:
        raise UnknownAnswerError(f"its answer has no {name!r}") from error


def _cause(error: BaseException) -> str:
    """The innermost reason that a request failed for, as the system words it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _told(answer: Any) -> str:
    """What a server's error says, in one line."""
    try:
        said = answer.json()
        text = said["error"]["message"] if "error" in said else said["detail"]
    except (ValueError, KeyError, TypeError):
        text = answer.text or answer.reason
    return " ".join(str(text).split())[:500]

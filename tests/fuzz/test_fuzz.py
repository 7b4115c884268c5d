"""Random and mutated input from outside: answers, data files, manifests, checkpoints, chat templates, model files.

Each target may raise the one error that its documentation names, and nothing else. What was found once is in
``corpus/TARGET`` and is tried first, every time. ``make fuzz`` tries for minutes (``FUZZ_EXAMPLES``) and adds to it.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saved_runs import save

from iapo.embedded import model_path
from iapo.ops.json_files import read_sealed, write_sealed
from iapo.ops.text_files import file_digest
from iapo.policy.loading import load_model, load_tokenizer
from iapo.rewards import MathAnswer
from iapo.rewards.answers import readings
from iapo.rewards.text import normalize
from iapo.tasks import FileTask, load_rows, render_prompts
from iapo.training.checkpoints.checkpoint import load_checkpoint
from iapo.training.checkpoints.folder import MANIFEST, verify_folder

CORPUS = Path(__file__).with_name("corpus")
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
MARKUP = [
    b"\\frac{",
    b"\\boxed{",
    b"<answer>",
    b"</answer>",
    b"</think>",
    b"9^{9^9}",
    b"{" * 50,
    b"(" * 50,
    b"\xff\xfe",
]
MARKUP += [
    b"\xff\xfe",
    b"\x00",
    b"\xed\xa0\x80",
    b'"',
    b"\n",
    b"\r",
    b",",
    b"[" * 2000,
    b"{% for i in x %}",
    b"{{ x[9] }}",
    b"NaN",
]
MARKUP += ["٣½²".encode(), b"1e999", b"-" * 30, b"../", b"null", b'{"a":', b"9" * 5000, b"\\left(", b"$$", b"%", b"!"]


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with pieces cut, doubled, replaced or put in between."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from([0, 0, 1, 2, 8, 64])))
        piece = draw(st.sampled_from(MARKUP) | st.binary(max_size=8) | st.just(bytes(content[start:end]) * 2))
        content[start:end] = piece
    return bytes(content)


def found_before(target: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / target).glob("*"))]


def fuzz(target: str, seeds: list[bytes], attempt: Callable[[bytes], None], examples: int = EXAMPLES) -> None:
    """Try what was found before, then mutations of the seeds; the smallest input that fails is kept in the corpus."""
    kept = found_before(target)
    for content in [*kept, *seeds]:
        attempt(content)
    last: list[bytes] = []

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(mutated([*seeds, *kept]))
    def try_one(content: bytes) -> None:
        try:
            attempt(content)
        except BaseException:
            last[:] = [content]
            raise

    try:
        try_one()
    except BaseException:
        if last and "FUZZ_EXAMPLES" in os.environ:
            (CORPUS / target).mkdir(parents=True, exist_ok=True)
            (CORPUS / target / hashlib.sha256(last[0]).hexdigest()[:12]).write_bytes(last[0])
        raise


@contextmanager
def refusal(words: str) -> Iterator[list[str]]:
    """A block that may raise ``ValueError`` with these words; what it raised is then in the list."""
    refused: list[str] = []
    try:
        yield refused
    except ValueError as error:
        if words not in str(error):
            raise AssertionError(f"want {words!r} in the message of {error!r}") from error
        refused.append(str(error))


ANSWERS = [
    b"<think>a</think><answer>\\frac{1}{2}</answer>",
    b"\\boxed{3, 5}",
    b"The answer is $5 million.",
    b"10:30 AM",
]
ANSWERS += [
    b"10:30 AM",
    b"(-\\infty, 3] \\cup \\{1\\}",
    b"two and a half km/h",
    b"2024-02-30",
    b"x = \\sqrt{2} \\pm 1%",
    b"3:4:5 (B)",
]


def test_answers() -> None:
    reward = MathAnswer(time_limit=1.0)

    def attempt(content: bytes) -> None:
        text = content.decode("utf-8", "surrogateescape")
        assert len(str(readings(normalize(text[:2000])))) >= 0
        for reference in ("3/7", text):
            assert reward(["q"], [text], [[1]], answer=[reference])[0] in (0.0, 1.0, None)

    fuzz("answers", ANSWERS, attempt)
    reward.close()


DATA = {
    ".jsonl": [b'{"prompt": "1+1=", "answer": "2"}\n{"prompt": [{"role": "user", "content": "x"}], "answer": 1e5}\n'],
    ".json": [b'[{"prompt": "1+1=", "answer": ["2", "two"]}, {"prompt": "a", "answer": {"ground_truth": null}}]'],
    ".csv": [b'prompt,answer\n"1, 2",3\n"a ""b""\nc",d\n', b"\xef\xbb\xbfprompt,answer\r\n1,2\r\n"],
}


@pytest.mark.parametrize("suffix", DATA)
def test_data_files(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"data{suffix}"

    def attempt(content: bytes) -> None:
        file.write_bytes(content)
        with refusal("data: ") as refused:
            rows = load_rows(FileTask(str(file)))
        if not refused:
            assert rows
            assert all(row["prompt"] not in (None, "") for row in rows)

    fuzz(f"data{suffix}", DATA[suffix], attempt)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("fuzzed"), 1)


@pytest.mark.parametrize("signed", [False, True], ids=["as they are", "with a right digest"])
def test_manifests(signed: bool, checkpoint: Path) -> None:
    """A manifest that was damaged, and one whose writer means harm and signs it."""
    original = (checkpoint / MANIFEST).read_bytes()
    inner = json.dumps(read_sealed(checkpoint / MANIFEST)).encode()

    def attempt(content: bytes) -> None:
        (checkpoint / MANIFEST).write_bytes(content)
        if signed:
            try:
                found = json.loads(content)
            except (ValueError, RecursionError):
                return
            if isinstance(found, dict):
                write_sealed(checkpoint / MANIFEST, found)
        with refusal(str(checkpoint)):
            verify_folder(checkpoint, 1)

    seeds = (
        [inner, b'{"format": 1, "files": {"../../x": "0"}}', b'{"format": 1, "files": {"a/b": 3}}'] if signed else []
    )
    try:
        fuzz("manifests" + "-signed" * signed, seeds if signed else [original], attempt)
    finally:
        (checkpoint / MANIFEST).write_bytes(original)


@pytest.mark.parametrize("name", ["state.json", "state.safetensors"])
def test_checkpoints_whose_writer_means_harm(name: str, checkpoint: Path) -> None:
    """Files that were changed together with their digests."""
    original, manifest = (checkpoint / name).read_bytes(), (checkpoint / MANIFEST).read_bytes()
    listed = read_sealed(checkpoint / MANIFEST)

    def attempt(content: bytes) -> None:
        (checkpoint / name).write_bytes(content)
        files = listed["files"] | {name: file_digest(checkpoint / name)}
        write_sealed(checkpoint / MANIFEST, listed | {"files": files})
        with refusal(str(checkpoint)):
            load_checkpoint(checkpoint.parent, override=True)

    header = int.from_bytes(original[:8], "little")
    short = [original] if name.endswith(".json") else [original[: 8 + header], original]
    try:
        fuzz(name, short, attempt)
    finally:
        (checkpoint / name).write_bytes(original)
        (checkpoint / MANIFEST).write_bytes(manifest)


TEMPLATES = [
    b"{% for m in messages %}<|{{ m['role'] }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
]
TEMPLATES += [b"{{ bos_token }}{{ messages[0]['content'] | trim }}{{ raise_exception('no system') }}"]
TEMPLATES += [
    b"{%- set x = namespace(a=1) -%}{{ x.a + messages|length }}{% macro f() %}{{ 1/0 }}{% endmacro %}{{ f() }}"
]


def test_chat_templates() -> None:
    tokenizer = load_tokenizer("embedded")

    def attempt(content: bytes) -> None:
        tokenizer.chat_template = content.decode("utf-8", "replace")
        with refusal("template") as refused:
            (row,) = render_prompts([{"prompt": "1+1=", "answer": "2"}], tokenizer, system_prompt="Be brief.")
        if not refused:
            assert isinstance(row["prompt"], str)

    fuzz("chat_templates", TEMPLATES, attempt)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_model_files(name: str) -> None:
    original = (Path(model_path()) / name).read_bytes()
    header = 8 + int.from_bytes(original[:8], "little")
    seeds = [original[:header] + original[header:]] if name == "model.safetensors" else [original]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(model_path(), Path(folder) / "model"))

        def attempt(content: bytes) -> None:
            (copy / name).write_bytes(content[:header] + original[header:] if name == "model.safetensors" else content)
            with refusal("model: "):
                load_model(str(copy))

        fuzz(name, seeds, attempt, max(4, EXAMPLES // 10))

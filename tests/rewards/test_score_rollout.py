"""What reward functions see of a rollout."""

from typing import Any

from iapo.rewards import ExactAnswer, score_rollout
from iapo.rollout import collate

TEXTS = ["<think>3+8=1</think><answer>1</answer><eos>", "<think>3+8=1 hmm </think>"]


def test_rewards_see_text_tokens_and_row(embedded_tokenizer: Any) -> None:
    encoded = [embedded_tokenizer(text)["input_ids"] for text in TEXTS]
    prompts = [embedded_tokenizer("3+8=")["input_ids"]] * 2
    rollout = collate(prompts, encoded, [0, 0], embedded_tokenizer.pad_token_id, embedded_tokenizer)
    rows = [{"prompt": "3+8=", "answer": "1", "level": 1}, {"prompt": "3+8=", "answer": "1", "level": 2}]
    seen: dict[str, Any] = {}

    def spy(**arguments: Any) -> list[float | None]:
        seen.update(arguments)
        return [0.25, None]

    scores = score_rollout(rollout, rows, embedded_tokenizer, {"accuracy": ExactAnswer(), "spy": spy})
    assert seen == {
        "prompts": ["3+8=", "3+8="],
        "completions": [TEXTS[0].removesuffix("<eos>"), TEXTS[1]],
        "completion_ids": encoded,
        "answer": ["1", "1"],
        "level": [1, 2],
    }
    assert scores.total.tolist() == [1.25, 0.0]
    assert scores.scored.tolist() == [True, False]
    assert scores.correct().tolist() == [True, False]

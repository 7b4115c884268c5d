"""What samplers have in common whose completions an engine of vLLM makes, wherever it runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from iapo.ops.padding import pad_rows
from iapo.policy.limits import check_room, limits_of
from iapo.rollout.language_model import Generated, LanguageModelSampler
from iapo.rollout.vllm.engine import Engine

_REMEDY = "raise max_model_len (of a server --max-model-len) or cache_gib, as far as the model goes"


def right_modes(temperature: float, top_p: float) -> tuple[str, ...]:
    """The modes of vLLM that give log-probabilities after the temperature and before ``top_p``; the usual one first.

    Example:
        >>> right_modes(temperature=1.0, top_p=1.0), right_modes(0.7, 1.0), right_modes(1.0, 0.9), right_modes(0.7, 0.9)
        (('processed_logprobs', 'raw_logprobs'), ('processed_logprobs',), ('raw_logprobs',), ())
    """
    processed = ("processed_logprobs",) if top_p == 1 or temperature == 0 else ()
    return (*processed, "raw_logprobs") if temperature in (0, 1) else processed


@dataclass(frozen=True, eq=False)
class EngineSampler(LanguageModelSampler):
    """Base of `VLLMSampler` and `VLLMServerSampler`: an engine that is handed the weights, checked, and asked.

    Each prompt gets a seed of torch's global generator of the CPU.

    Args:
        engine: that of another sampler with the same settings of the engine, which is then used together; ``None``: one
            of its own.
    """

    keeps_rows_apart = True  # an engine chooses its rotations when it starts

    engine: Engine | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature != 0 and not 0.01 <= self.temperature <= 2:
            raise ValueError(f"temperature: got {self.temperature}, vLLM takes 0 and numbers from 0.01 to 2")

    def check_engine(self, engine: Engine) -> None:
        """Hook: raise for an engine with weights that is not as the sampler needs it."""

    def most_positions(self, model: Any) -> int | None:
        """The model's: an engine would cut completions in silence."""
        return limits_of(model).positions

    def generate(
        self, model: Any, prompt_ids: list[list[int]], group_size: int, eos_ids: Sequence[int], pad_id: int
    ) -> Iterator[Generated]:
        """Tokens and log-probabilities of all completions, which vLLM puts into batches itself."""
        engine = self.engine
        assert engine is not None
        # Autocast would reach the products of an engine in this process, and is not in those of a server.
        with torch.autocast(model.device.type, enabled=False):
            engine.load(model)
            self.check_engine(engine)
            check_room(prompt_ids, self.max_new_tokens, engine.length, _REMEDY)
            engine.check(model, prompt_ids[0])
            found = engine.complete(
                prompt_ids,
                seeds=torch.randint(2**62, (len(prompt_ids),)).tolist(),
                group_size=group_size,
                max_tokens=self.max_new_tokens,
                temperature=float(self.temperature),
                top_p=float(self.top_p),
                eos_ids=eos_ids,
            )
        rows = [row for completions in found for row, _ in completions]
        tokens, mask = pad_rows(rows, pad_id)
        if engine.gives not in right_modes(self.temperature, self.top_p):
            yield tokens, None
            return
        logprobs = torch.zeros(tokens.shape, dtype=torch.float32)
        values = [value for completions in found for _, values in completions for value in values]
        logprobs[mask] = torch.tensor(values, dtype=torch.float32)
        yield tokens, logprobs

    def _better_modes(self, engine: Engine) -> tuple[str, ...]:
        """The modes that give log-probabilities where the engine's gives none; empty: its own does, or none would."""
        modes = right_modes(self.temperature, self.top_p)
        return () if engine.gives in modes else modes

    def _take(self, own: Engine) -> None:
        """Use the engine that was given, if it has the same settings as ``own``, or else that."""
        if self.engine is None:
            object.__setattr__(self, "engine", own)
        elif different := self.engine.differs_from(own):
            raise ValueError(f"engine: its {different}; give samplers that share one the same settings")

"""The problems of a command: read and checked before its policy loads; put into its words; those that fit it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from iapo.interfaces import Reward, Sampler
from iapo.policy.limits import limits_of
from iapo.rewards import check_columns, check_references
from iapo.rewards.columns import read_references
from iapo.rollout.prompts import encode_prompts
from iapo.tasks import Row
from iapo.tasks.splitting import split_indices
from iapo.tasks.stream import check_batch
from iapo.training.components import Answer, Components
from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.configuration.run_config import RunConfig
from iapo.training.known_signals import check_reference_columns
from iapo.training.setup.fitting import PromptSize, Room, forced_in_training, new_tokens
from iapo.training.setup.unknown_characters import warn_of_unknown


@dataclass(frozen=True)
class Problems:
    """Problems, and the solved ones that stand before each.

    Args:
        source: where they come from, and how they are put to the policy.
        rows: as the data have them, or rendered.
        places: of the rows in the data, for errors.
        shots: indices in the data of the rows that stand, solved, before each problem.
        examples: these rows as the data have them.
        sizes: of the prompts, once they are rendered; none before.
    """

    source: ProblemSource
    rows: Sequence[Row]
    places: Sequence[object]
    shots: Sequence[int] = ()
    examples: Sequence[Row] = ()
    sizes: Sequence[PromptSize] = ()

    @classmethod
    def read(cls, source: ProblemSource, seed: int) -> "Problems":
        """All problems of a source, those that are solved before each among them.

        Raises:
            ValueError: as `ProblemSource.load` and `ProblemSource.examples`.
        """
        rows = source.load(seed)
        shots = source.examples(rows, seed)
        return cls(source, rows, source.places(range(len(rows))), shots, [rows[index] for index in shots])

    def check(self, rewards: Mapping[str, Reward]) -> None:
        """Raise ``ValueError`` for a column or a reference answer that a reward needs and that is not there."""
        check_columns(rewards, self.rows[0])
        check_references(rewards, self.rows, self.places)

    def select(self, indices: Sequence[int]) -> "Problems":
        """Those in these rows, in their order."""
        rows, places = [self.rows[index] for index in indices], [self.places[index] for index in indices]
        sizes = [self.sizes[index] for index in indices] if self.sizes else ()
        return replace(self, rows=rows, places=places, sizes=sizes)

    def rendered(self, tokenizer: Any) -> "Problems":
        """The same problems, the ``prompt`` of each the text that the policy reads; what it cannot read is told."""
        rows = self.source.render(self.rows, tokenizer, self.places, self.examples)
        encoded = encode_prompts([row["prompt"] for row in rows], tokenizer)
        warn_of_unknown(rows, encoded, self.places, tokenizer)
        return replace(self, rows=rows, sizes=[PromptSize.of(ids) for ids in encoded])

    def stop(self, tokenizer: Any) -> tuple[str, ...]:
        """The texts that end a completion behind the examples."""
        return self.source.stop(self.examples, tokenizer)

    def references(self, answer: Answer) -> list[str]:
        """The reference answers, if an estimator is asked about them; else none.

        Raises:
            ValueError: one cannot be read; its row is named.
        """
        return read_references(self.rows, self.places) if answer == "reference" else []

    def room(
        self, model: nn.Module, tokenizer: Any, sampler: Sampler, forced: Sequence[int], references: Sequence[str]
    ) -> Room:
        """The room of a model whose completions are measured.

        Args:
            model: the policy.
            tokenizer: of the policy.
            sampler: a completion of which may follow a prompt.
            forced: the tokens that ask for an answer and end it, which may follow the completion.
            references: the answers that are asked about, of which the longest may stand among them.

        Raises:
            ValueError: an answer is asked for with a token that the model has no embedding of.
        """
        limits = limits_of(model).scored
        limits.check_tokens(forced, tokenizer, "estimator: postfix and closing")
        answer = max((len(ids) for ids in encode_prompts(references, tokenizer)), default=0)
        reserved = new_tokens(sampler, limits) + len(forced) + answer
        return Room(tokenizer, limits, reserved, self.source.long_prompts)

    def fitting(self, room: Room) -> "Problems":
        """Those of these rendered problems that fit.

        Raises:
            ValueError: as `iapo.training.setup.fitting.Room.fitting`.
        """
        return self.select(room.fitting(self.sizes, self.places))


@dataclass(frozen=True)
class FittingProblems:
    """The problems that a policy has room for, as it reads them.

    Args:
        room: that they were found to fit.
        training: those that are trained on.
        held_out: those that are evaluated on.
    """

    room: Room
    training: Problems
    held_out: Problems


@dataclass(frozen=True)
class RunProblems:
    """All problems of a run. They are split before it is known which fit: that depends on the sampler.

    Args:
        all: of them; those that are solved before each are in neither of the two sides.
        training: indices of the rows that are trained on.
        held_out: indices of the rows that are evaluated on.
        references: the reference answers, if an estimator is asked about them; else none.
    """

    all: Problems
    training: Sequence[int]
    held_out: Sequence[int]
    references: Sequence[str]

    @classmethod
    def read(cls, config: RunConfig) -> "RunProblems":
        """Read the problems of a run as its data have them.

        Raises:
            ValueError: a column or a reference answer that a component needs is not there, a reference answer cannot
                be read, or there are too few problems; the row is named.
        """
        settings, choices = config.settings, config.choices
        problems = Problems.read(config.problems, settings.seed)
        problems.check(choices.rewards)
        check_reference_columns(choices.assigner.requires, problems.rows, problems.places)
        training, held_out = split_indices(problems.rows, settings.eval_problems, without=problems.shots)
        check_batch(settings.prompts_per_step, len(training))
        return cls(problems, training, held_out, problems.references(settings.answer))

    def rendered(self, tokenizer: Any) -> "RunProblems":
        """The same problems, the ``prompt`` of each the text that the policy reads."""
        return replace(self, all=self.all.rendered(tokenizer))

    def room(self, model: nn.Module, tokenizer: Any, components: Components) -> Room:
        """The room of a model, where a completion, what asks for an answer, and a reference may follow a prompt.

        Raises:
            ValueError: an answer is asked for with a token that the model has no embedding of.
        """
        forced = forced_in_training(components.estimator, components.assigner)
        return self.all.room(model, tokenizer, components.sampler, forced, self.references)

    def fitting(self, room: Room) -> FittingProblems:
        """Those that fit.

        Raises:
            ValueError: as `iapo.training.setup.fitting.Room.fitting`.
        """
        training, held_out = (self.all.select(part).fitting(room) for part in (self.training, self.held_out))
        return FittingProblems(room, training, held_out)

"""The problems of a run: read, checked and split before its policy loads; put into its words; those that fit it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from iapo.policy.limits import limits_of
from iapo.rewards import check_columns, check_references
from iapo.rewards.scores import read_references
from iapo.rollout.prompts import encode_prompts
from iapo.tasks import Row, RowPlace
from iapo.tasks.splitting import split_indices
from iapo.tasks.stream import check_batch
from iapo.training.components import Components
from iapo.training.configuration.run_config import RunConfig
from iapo.training.configuration.settings import ProblemSource
from iapo.training.setup.fitting import Room, forced_in_training, new_tokens
from iapo.training.signals import check_reference_columns


@dataclass(frozen=True)
class FittingProblems:
    """The problems that a policy has room for, as it reads them.

    Args:
        room: that they were found to fit.
        training: the rows that are trained on.
        training_places: of these rows in the data, for errors.
        held_out: the rows that are evaluated on.
    """

    room: Room
    training: Sequence[Row]
    training_places: Sequence[RowPlace]
    held_out: Sequence[Row]


@dataclass(frozen=True)
class RunProblems:
    """All problems of a run. They are split before it is known which fit: that depends on the sampler.

    Args:
        source: where they come from, and how they are put to the policy.
        rows: all of them.
        places: of the rows in the data, for errors.
        training: indices of the rows that are trained on.
        held_out: indices of the rows that are evaluated on.
        shots: indices of the rows that stand, solved, before each problem; they are in neither of the two.
        examples: these rows as the data have them.
        references: the reference answers, if an estimator is asked about them; else none.
    """

    source: ProblemSource
    rows: Sequence[Row]
    places: Sequence[RowPlace]
    training: Sequence[int]
    held_out: Sequence[int]
    shots: Sequence[int]
    examples: Sequence[Row]
    references: Sequence[str]

    @classmethod
    def read(cls, config: RunConfig) -> "RunProblems":
        """Read the problems of a run as its data have them.

        Raises:
            ValueError: a column or a reference answer that a component needs is not there, a reference answer cannot
                be read, or there are too few problems; the row is named.
        """
        source, settings, choices = config.problems, config.settings, config.choices
        rows = source.load(settings.seed)
        check_columns(choices.rewards, rows[0])
        places = source.places(range(len(rows)))
        check_references(choices.rewards, rows, places)
        check_reference_columns(choices.assigner.requires, rows[0])
        shots = source.examples(rows, settings.seed)
        training, held_out = split_indices(rows, settings.eval_problems, without=shots)
        check_batch(settings.prompts_per_step, len(training))
        references = read_references(rows, places) if settings.answer == "reference" else []
        return cls(source, rows, places, training, held_out, shots, [rows[index] for index in shots], references)

    def rendered(self, tokenizer: Any) -> "RunProblems":
        """The same problems, the ``prompt`` of each the text that the policy reads."""
        return replace(self, rows=self.source.render(self.rows, tokenizer, self.places, self.examples))

    def room(self, model: nn.Module, tokenizer: Any, components: Components) -> Room:
        """The room of a model, where a completion, what asks for an answer, and a reference may follow a prompt.

        Raises:
            ValueError: an answer is asked for with a token that the model has no embedding of.
        """
        limits = limits_of(model).scored
        forced = forced_in_training(components.estimator, components.assigner)
        limits.check_tokens(forced, tokenizer, "estimator: postfix and closing")
        answer = max((len(ids) for ids in encode_prompts(self.references, tokenizer)), default=0)
        reserved = new_tokens(components.sampler, limits) + len(forced) + answer
        return Room(tokenizer, limits, reserved, self.source.long_prompts)

    def fitting(self, room: Room) -> FittingProblems:
        """Those that fit.

        Raises:
            ValueError: as `iapo.training.setup.fitting.Room.fitting`.
        """
        training, held_out = (
            [part[each] for each in room.fitting([self.rows[i] for i in part], [self.places[i] for i in part])]
            for part in (self.training, self.held_out)
        )
        return FittingProblems(
            room,
            [self.rows[index] for index in training],
            [self.places[index] for index in training],
            [self.rows[index] for index in held_out],
        )

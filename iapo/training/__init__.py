"""The reference loop: `update` and its halves. A whole run from settings is `iapo.training.run.train`."""

from iapo.training.components import Components, UpdateSettings
from iapo.training.loop import PolicyUpdate, TrainingBatch, optimise, prepare, update

__all__ = ["Components", "PolicyUpdate", "TrainingBatch", "UpdateSettings", "optimise", "prepare", "update"]

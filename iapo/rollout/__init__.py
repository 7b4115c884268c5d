"""Samplers of completions, and what turns completions into a `Rollout`. The interface is `iapo.Sampler`."""

from iapo.rollout.collation import collate, with_answers
from iapo.rollout.compacting import CompactingSampler
from iapo.rollout.language_model import LanguageModelSampler
from iapo.rollout.scripted import ScriptedSampler
from iapo.rollout.spans import Markers, Spans, mark_spans
from iapo.rollout.text import token_pieces
from iapo.rollout.transformers import TransformersSampler

__all__ = [
    "CompactingSampler",
    "LanguageModelSampler",
    "Markers",
    "ScriptedSampler",
    "Spans",
    "TransformersSampler",
    "collate",
    "mark_spans",
    "token_pieces",
    "with_answers",
]

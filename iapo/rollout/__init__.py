"""Samplers of completions, and what turns completions into a `Rollout`. The interface is `iapo.Sampler`."""

from iapo.rollout.collation import ask_about, collate, read_anew, with_answers
from iapo.rollout.compacting import CompactingSampler
from iapo.rollout.ends import eos_ids_of, style_of
from iapo.rollout.language_model import LanguageModelSampler
from iapo.rollout.scripted import ScriptedSampler
from iapo.rollout.spans import Exits, Spans, mark_spans
from iapo.rollout.transformers import TransformersSampler
from iapo.rollout.vllm import VLLMSampler, VLLMServerSampler

__all__ = [
    "CompactingSampler",
    "Exits",
    "LanguageModelSampler",
    "ScriptedSampler",
    "Spans",
    "TransformersSampler",
    "VLLMSampler",
    "VLLMServerSampler",
    "ask_about",
    "collate",
    "eos_ids_of",
    "mark_spans",
    "read_anew",
    "style_of",
    "with_answers",
]

"""The packed forward: all prefixes of a completion probed in a few forwards against one key-value cache.

What this package exports is all that estimators use of it; they import it from here and not from its files. Inside,
imports go one way: `blocks`, `prefixes` and `matmul` stand on their own; `attention` needs `block_attention`;
`masks`, `memory` and `prefix_cache` need these; `packing` puts them together; `guard` checks what `packing` computes.
"""

from iapo.estimators.packed.attention import packable_attention
from iapo.estimators.packed.blocks import Block, check_chunk, check_vocabulary
from iapo.estimators.packed.guard import CheckedModels
from iapo.estimators.packed.memory import MAX_LOGITS, run_in_chunks
from iapo.estimators.packed.packing import Reduce, check_positions, packed_logits, probe_prefixes, run_blocks
from iapo.estimators.packed.prefix_cache import PrefixCache, fill_cache, fill_cache_and_score
from iapo.estimators.packed.prefixes import longest_prefix, needed_probes

__all__ = [
    "MAX_LOGITS",
    "Block",
    "CheckedModels",
    "PrefixCache",
    "Reduce",
    "check_chunk",
    "check_positions",
    "check_vocabulary",
    "fill_cache",
    "fill_cache_and_score",
    "longest_prefix",
    "needed_probes",
    "packable_attention",
    "packed_logits",
    "probe_prefixes",
    "run_blocks",
    "run_in_chunks",
]

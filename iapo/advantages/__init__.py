"""Advantages, one method a file. The interface is `iapo.AdvantageAssigner`."""

from iapo.advantages.credit import information_to_go
from iapo.advantages.gfpo import GFPO
from iapo.advantages.group_relative import GroupRelative
from iapo.advantages.grpo_s import GRPOS
from iapo.advantages.gtpo import GTPO
from iapo.advantages.information_aware import InformationAware
from iapo.advantages.length_shaped import LengthShaped
from iapo.advantages.official_compat import OfficialCompat
from iapo.advantages.official_gtpo import OfficialGTPO
from iapo.advantages.overlong import OverlongFiltered
from iapo.advantages.reinforce_plus_plus import ReinforcePlusPlus
from iapo.advantages.rloo import RLOO
from iapo.advantages.sgrpo import SGRPO
from iapo.advantages.shaping import (
    AroraZanette,
    KimiLength,
    L1Length,
    RewardShaping,
    ShorterBetter,
    SoftOverlong,
    ThinkPrune,
)
from iapo.advantages.sufficient import (
    BudgetReturns,
    Crop,
    Drift,
    FirstCorrectChunk,
    RecordGain,
    SerialExits,
    StepPotential,
    TailPenalty,
    TurnGain,
)
from iapo.advantages.wrapping import WrappingAssigner

__all__ = [
    "GFPO",
    "GRPOS",
    "GTPO",
    "RLOO",
    "SGRPO",
    "AroraZanette",
    "BudgetReturns",
    "Crop",
    "Drift",
    "FirstCorrectChunk",
    "GroupRelative",
    "InformationAware",
    "KimiLength",
    "L1Length",
    "LengthShaped",
    "OfficialCompat",
    "OfficialGTPO",
    "OverlongFiltered",
    "RecordGain",
    "ReinforcePlusPlus",
    "RewardShaping",
    "SerialExits",
    "ShorterBetter",
    "SoftOverlong",
    "StepPotential",
    "TailPenalty",
    "ThinkPrune",
    "TurnGain",
    "WrappingAssigner",
    "information_to_go",
]

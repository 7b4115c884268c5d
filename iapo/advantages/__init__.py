"""Advantages, one method a file. The interface is `iapo.AdvantageAssigner`."""

from iapo.advantages.credit import information_to_go
from iapo.advantages.gfpo import GFPO
from iapo.advantages.group_relative import GroupRelative
from iapo.advantages.grpo_s import GRPOS
from iapo.advantages.gtpo import GTPO
from iapo.advantages.information_aware import InformationAware
from iapo.advantages.length_shaped import LengthShaped
from iapo.advantages.official_compat import OfficialCompat
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
from iapo.advantages.wrapping import WrappingAssigner

__all__ = [
    "GFPO",
    "GRPOS",
    "GTPO",
    "RLOO",
    "SGRPO",
    "AroraZanette",
    "GroupRelative",
    "InformationAware",
    "KimiLength",
    "L1Length",
    "LengthShaped",
    "OfficialCompat",
    "OverlongFiltered",
    "ReinforcePlusPlus",
    "RewardShaping",
    "ShorterBetter",
    "SoftOverlong",
    "ThinkPrune",
    "WrappingAssigner",
    "information_to_go",
]

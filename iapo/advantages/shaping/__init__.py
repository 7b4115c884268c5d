"""Length-aware rewards, one a file. The interface is `RewardShaping`; `iapo.advantages.LengthShaped` applies them."""

from iapo.advantages.shaping.adaptive_penalty import AdaptiveLengthPenalty
from iapo.advantages.shaping.arora_zanette import AroraZanette
from iapo.advantages.shaping.interface import RewardShaping
from iapo.advantages.shaping.kimi import KimiLength
from iapo.advantages.shaping.l1 import L1Length
from iapo.advantages.shaping.laser import Laser
from iapo.advantages.shaping.laser_d import LaserD, laser_targets
from iapo.advantages.shaping.pace import PaceLength
from iapo.advantages.shaping.rescaling import GroupRescaling
from iapo.advantages.shaping.shorter_better import ShorterBetter
from iapo.advantages.shaping.soft_overlong import SoftOverlong
from iapo.advantages.shaping.think_prune import ThinkPrune

__all__ = [
    "AdaptiveLengthPenalty",
    "AroraZanette",
    "GroupRescaling",
    "KimiLength",
    "L1Length",
    "Laser",
    "LaserD",
    "PaceLength",
    "RewardShaping",
    "ShorterBetter",
    "SoftOverlong",
    "ThinkPrune",
    "laser_targets",
]

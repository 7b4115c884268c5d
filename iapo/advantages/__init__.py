"""Advantages, one method a file. The interface is `iapo.AdvantageAssigner`."""

from iapo.advantages.batch_whitened import BatchWhitened
from iapo.advantages.confidence_masked import ConfidenceMasked
from iapo.advantages.controls import PermutedInformation, RandomInformation
from iapo.advantages.credit import information_to_go
from iapo.advantages.entropy_advantage import EntropyAdvantage
from iapo.advantages.gdpo import GDPO
from iapo.advantages.gfpo import GFPO
from iapo.advantages.given_outcome import GivenOutcome
from iapo.advantages.group_relative import GroupRelative
from iapo.advantages.grpo_s import GRPOS
from iapo.advantages.gtpo import GTPO
from iapo.advantages.information_aware import InformationAware
from iapo.advantages.leave_out_priced import LeaveOutPriced
from iapo.advantages.length_shaped import LengthShaped
from iapo.advantages.o1_pruner import O1Pruner
from iapo.advantages.oar import OARReshaped
from iapo.advantages.official_compat import OfficialCompat
from iapo.advantages.official_gtpo import OfficialGTPO
from iapo.advantages.overlong import OverlongFiltered
from iapo.advantages.reinforce_plus_plus import ReinforcePlusPlus
from iapo.advantages.rloo import RLOO
from iapo.advantages.sgrpo import SGRPO
from iapo.advantages.shaping import (
    AdaptiveLengthPenalty,
    AroraZanette,
    GroupRescaling,
    KimiLength,
    L1Length,
    Laser,
    LaserD,
    PaceLength,
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
    "GDPO",
    "GFPO",
    "GRPOS",
    "GTPO",
    "RLOO",
    "SGRPO",
    "AdaptiveLengthPenalty",
    "AroraZanette",
    "BatchWhitened",
    "BudgetReturns",
    "ConfidenceMasked",
    "Crop",
    "Drift",
    "EntropyAdvantage",
    "FirstCorrectChunk",
    "GivenOutcome",
    "GroupRelative",
    "GroupRescaling",
    "InformationAware",
    "KimiLength",
    "L1Length",
    "Laser",
    "LaserD",
    "LeaveOutPriced",
    "LengthShaped",
    "O1Pruner",
    "OARReshaped",
    "OfficialCompat",
    "OfficialGTPO",
    "OverlongFiltered",
    "PaceLength",
    "PermutedInformation",
    "RandomInformation",
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

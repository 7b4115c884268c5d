"""Advantages, one method a file. The interface is `iapo.AdvantageAssigner`."""

from iapo.advantages.credit import information_to_go
from iapo.advantages.group_relative import GroupRelative
from iapo.advantages.information_aware import InformationAware

__all__ = ["GroupRelative", "InformationAware", "information_to_go"]

"""Benign traffic: one file for each kind, and the registry that the simulator goes through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from securenet_flows.simulation.activities import browsing
from securenet_flows.simulation.activities.interface import Activity, Slice, activity_level

__all__ = ["ACTIVITIES", "Activity", "Slice", "activity_level"]

#: Activities by name; the name stands in the detailed label of their flows.
ACTIVITIES: Final[Mapping[str, Activity]] = {
    "browsing": browsing.generate,
}

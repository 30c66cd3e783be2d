"""Benign traffic: one file for each kind, and the registry that the simulator goes through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from securenet_flows.simulation.activities import (
    administration,
    backups,
    browsing,
    file_sharing,
    housekeeping,
    meetings,
    monitoring,
    polling,
    updates,
    visitors,
)
from securenet_flows.simulation.activities.interface import Activity, Slice, activity_level

__all__ = ["ACTIVITIES", "Activity", "Slice", "activity_level"]

#: Activities by name; the name stands in the detailed label of their flows.
ACTIVITIES: Final[Mapping[str, Activity]] = {
    "administration": administration.generate,
    "backups": backups.generate,
    "browsing": browsing.generate,
    "file-sharing": file_sharing.generate,
    "housekeeping": housekeeping.generate,
    "meetings": meetings.generate,
    "monitoring": monitoring.generate,
    "polling": polling.generate,
    "updates": updates.generate,
    "visitors": visitors.generate,
}

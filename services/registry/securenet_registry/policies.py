"""What an operator asks of promotions, model by model."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Pattern = Annotated[str, Field(min_length=1, max_length=128)]


class PromotionPolicy(BaseModel):
    """What holds for some models. Patterns are those of a shell: `*`, `?`, `[…]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: Pattern = "*"
    """Tenants that it is about."""

    model: Pattern = "*"
    """Models that it is about."""

    aliases: tuple[Literal["champion", "challenger"], ...] = ("champion",)
    """Aliases that it is about."""

    second_person: bool = False
    """Somebody other than who asked must approve. Rollbacks never wait for anybody."""


_NOTHING_ASKED = PromotionPolicy()


def policy_for(policies: Sequence[PromotionPolicy], tenant: str, model: str, alias: str) -> PromotionPolicy:
    """The first that is about an alias of a model; one that asks nothing where there is none."""
    for policy in policies:
        if alias in policy.aliases and fnmatchcase(tenant, policy.tenant) and fnmatchcase(model, policy.model):
            return policy
    return _NOTHING_ASKED

"""How many bytes a tenant may keep."""

from __future__ import annotations

from dataclasses import dataclass

from securenet_core.exceptions import ResourceExhaustedError
from securenet_registry.ledger import LedgerTransaction


@dataclass(frozen=True, slots=True)
class Quota:
    """A bound on the bytes that a tenant's versions refer to, together with those of uploads that were begun.

    Bytes that several versions share count once.

    Attributes:
        limit: bytes; None for no bound.
    """

    limit: int | None = None

    def check(self, tx: LedgerTransaction, now_ns: int, *, upload: str = "", more: int = 0) -> None:
        """Goes on where so many bytes more are within the bound.

        Args:
            upload: key of the upload that they belong to, which is not counted twice.

        Raises:
            ResourceExhaustedError: they are not.
        """
        if self.limit is None:
            return
        used = tx.stored_bytes() + tx.announced_bytes(now_ns, besides=upload)
        if used + more > self.limit:
            raise ResourceExhaustedError(
                f"{used + more:,} bytes with what is kept already; at most {self.limit:,} are allowed: delete versions",
                reason="QUOTA_EXCEEDED",
                metadata={"used_bytes": str(used), "quota_bytes": str(self.limit)},
            )

"""Keeps the serving model at what the registry's alias points at."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable
from typing import Final

from securenet_core.exceptions import SecurenetError
from securenet_core.logs import get_logger
from securenet_detection.models.interface import Artifact, ModelRejectedError, ModelSource, Promotion
from securenet_detection.models.serving import ModelSlot, ServingModel

#: Seconds before the first and between later attempts to reach the registry.
_FIRST_DELAY: Final = 0.25
_LONGEST_DELAY: Final = 15.0

#: How long a thread that takes a model may keep the interpreter from the event loop that wants it back, seconds. A call
#: is several turns of the loop, and each one waits so long; with Python's own five milliseconds that is most of what a
#: call may take. For good it would cost all calls a tenth of their rate: gRPC's threads would wrest it from each other.
_SWITCH_SECONDS: Final = 0.0005
_USUAL_SWITCH_SECONDS: Final = 0.005

_log = get_logger(__name__)


class ModelFollower:
    """Watches, loads, checks, swaps. A version that is refused leaves the one before in service.

    Args:
        source: where models come from.
        slot: where the serving model stands.
        load: makes a serving model of a verified artifact; blocks; raises ModelRejectedError.
    """

    def __init__(
        self, source: ModelSource, slot: ModelSlot, load: Callable[[Artifact, Promotion, float], ServingModel]
    ) -> None:
        self._source = source
        self._slot = slot
        self._load = load
        self._followed: Promotion | None = None

    async def run(self) -> None:
        """Follows until it is cancelled."""
        delay = _FIRST_DELAY
        while True:
            try:
                async for promotion in self._source.promotions():
                    await self._follow(promotion)
                    delay = _FIRST_DELAY
            except SecurenetError as error:
                self._slot.explain(f"registry: {error.message}")
                _log.info("registry", detail=error.message, retry_in=delay)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads replicas, hides nothing
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _follow(self, promotion: Promotion | None) -> None:
        if promotion is None:
            if self._slot.current is None:
                self._slot.explain("the registry has promoted no version yet")
            return
        if promotion == self._followed:
            self._slot.explain("" if self._serves(promotion) else self._slot.detail)
            return
        begun = time.monotonic()
        try:
            artifact = await self._source.fetch(promotion)
            model = await asyncio.to_thread(self._take, artifact, promotion, begun)
        except ModelRejectedError as error:
            self._followed = promotion
            detail = f"{promotion.name} is refused: {error.message}"
            self._slot.explain(detail)
            _log.warning("model refused", model=promotion.name, generation=promotion.generation, detail=error.message)
            await self._report(promotion, error.message)
            return
        self._followed = promotion
        _log.info("model serves", model=model.reference.name, digest=model.reference.digest, seconds=model.load_seconds)
        await self._report(promotion, "")

    def _take(self, artifact: Artifact, promotion: Promotion, begun: float) -> ServingModel:
        """Off the event loop, where the model that nobody can be rolled back to any more is let go as well."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            model = self._load(artifact, promotion, begun)
            self._slot.swap(model)
            return model
        finally:
            sys.setswitchinterval(_USUAL_SWITCH_SECONDS)

    def _serves(self, promotion: Promotion) -> bool:
        current = self._slot.current
        return current is not None and current.generation == promotion.generation

    async def _report(self, promotion: Promotion, detail: str) -> None:
        current = self._slot.current
        try:
            await self._source.report(promotion, serves=current.reference.name if current else "", detail=detail)
        except SecurenetError as error:
            _log.warning("registry does not take the report", detail=error.message)

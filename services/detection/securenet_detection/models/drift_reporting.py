"""Tells the registry what has drifted, and keeps it until the registry has heard it."""

from __future__ import annotations

from securenet_core.exceptions import SecurenetError
from securenet_core.logs import get_logger
from securenet_detection.models.drift import DriftWatch
from securenet_detection.models.interface import DriftListener

_log = get_logger(__name__)


class DriftReporter:
    """Sends what the watch has seen; never more than that is done about it.

    Args:
        listener: the registry.
        watch: sees.
    """

    def __init__(self, listener: DriftListener, watch: DriftWatch) -> None:
        self._listener = listener
        self._watch = watch

    async def sweep(self) -> None:
        """Sends what was not sent yet, a version at a time."""
        untold = self._watch.untold
        while untold:
            signals = [signal for signal in untold if signal.model == untold[0].model]
            try:
                await self._listener.report_drift(signals)
            except SecurenetError as error:
                _log.info("registry does not take the drift", detail=error.message)
                return
            for signal in signals:
                _log.warning("traffic has drifted", model=signal.model, drift=str(signal))
                if signal in untold:
                    untold.remove(signal)

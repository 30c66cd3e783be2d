"""Opens captures for training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from securenet_flows import read_flows
from securenet_flows.batch import FlowBatch
from securenet_flows.exceptions import FlowDataError
from securenet_registry.training.dataset import TrainingDataError

#: Rows of a batch: large, since nobody waits for the first flow.
BATCH_ROWS = 65_536


def read_capture(path: Path) -> Iterator[FlowBatch]:
    """Flows of a file or folder, in order, with their labels.

    Raises:
        TrainingDataError: nothing in it can be read as flows, with the reader's reason.
    """
    reading = read_flows([path], batch_rows=BATCH_ROWS, join_siblings=False)
    try:
        yield from reading
    except FlowDataError as error:
        raise TrainingDataError(f"{path}: {error}") from error

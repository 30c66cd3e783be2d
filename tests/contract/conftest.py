"""Running services for the tests of the contracts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest
from service_process import ServiceProcess, running


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ServiceProcess]]:
    """Each service once, started when it is first asked for."""
    with ExitStack() as stack:

        @cache
        def start(name: str) -> ServiceProcess:
            return stack.enter_context(running(name, tmp_path_factory.mktemp(name)))

        yield start

"""Packages that a library would load on the side are hidden from it, and from nobody else."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys

import pytest

from securenet_core.optional_packages import hidden

pytestmark = pytest.mark.unit


def test_a_hidden_package_is_not_found_and_then_is() -> None:
    name = "this" if "this" not in sys.modules else "antigravity"
    with hidden(name), pytest.raises(ImportError):
        importlib.import_module(name)
    assert name not in sys.modules
    assert importlib.util.find_spec(name) is not None


def test_a_loaded_package_stays() -> None:
    with hidden("json"):
        assert importlib.import_module("json") is json
    assert sys.modules["json"] is json


def test_an_error_brings_it_back_as_well() -> None:
    with pytest.raises(RuntimeError), hidden("this"):
        raise RuntimeError
    assert sys.modules.get("this", True)


def test_a_service_loads_no_web_framework() -> None:
    program = (
        "import sys, securenet_core.serving, securenet_core.containers;"
        "print([name for name in ('fastapi', 'flask', 'werkzeug', 'rich', 'cryptography', 'opentelemetry.sdk')"
        " if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

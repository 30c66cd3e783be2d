"""The roles that a contract's comments promise are the roles that the service lets in."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from securenet_core import Role

pytestmark = pytest.mark.unit

PROTO = Path(__file__).resolve().parents[2] / "proto" / "securenet"
SERVICES = ["detection", "scanner", "registry"]


def documented(name: str) -> dict[str, frozenset[Role]]:
    """Roles by RPC, as the comment above each says in its last sentence."""
    text = (PROTO / name / "v1" / f"{name}.proto").read_text(encoding="utf-8")
    found: dict[str, frozenset[Role]] = {}
    for match in re.finditer(r"((?:^  //.*\n)+)  rpc (\w+)\(", text, re.MULTILINE):
        comment = re.sub(r"\s*\n?\s*//\s?", " ", match[1]).strip()
        roles = re.search(r"Roles:\s+([^.;]+)", comment)
        assert roles, f"{name}: the comment of {match[2]} does not say which roles may call it"
        words = roles[1].strip()
        if words == "all":
            found[match[2]] = frozenset(Role)
        elif words == "any but reader":
            found[match[2]] = frozenset(Role) - {Role.READER}
        else:
            found[match[2]] = frozenset(Role(word.strip()) for word in words.split(","))
    return found


@pytest.mark.parametrize("name", SERVICES)
def test_comments_and_policy_agree(name: str) -> None:
    server = import_module(f"securenet_{name}.server")
    service, policy = server.DESCRIPTOR, server.POLICY
    assert {m.name: policy.roles(f"{service.full_name}/{m.name}") for m in service.methods} == documented(name)

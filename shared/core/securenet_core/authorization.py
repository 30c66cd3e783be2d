"""Which roles may call which RPC."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from securenet_core.exceptions import PermissionDeniedError, SettingsError
from securenet_core.principal import Principal, Role


class Policy:
    """Roles by full method name, ``package.Service/Method``; a method without an entry is for nobody."""

    def __init__(self, methods: Mapping[str, frozenset[Role]]) -> None:
        self._methods = dict(methods)

    def __contains__(self, method: str) -> bool:
        return method in self._methods

    def roles(self, method: str) -> frozenset[Role]:
        """The roles that may call `method`."""
        return self._methods.get(method, frozenset())

    def check(self, principal: Principal, method: str) -> None:
        """Lets the caller pass.

        Raises:
            PermissionDeniedError: none of the caller's roles may call the method.
        """
        allowed = self._methods.get(method, frozenset())
        if allowed.isdisjoint(principal.roles):
            raise PermissionDeniedError(
                f"{principal.subject} has role {_names(principal.roles)}; {method.rpartition('/')[2]} "
                f"needs one of {_names(allowed)}",
                reason="ROLE_MISSING",
            )

    def overridden_by(self, path: Path | None) -> Policy:
        """This policy with the entries of a policy file in place of its own.

        Raises:
            SettingsError: the file cannot be read, or names a method or a role that is not there.
        """
        if path is None:
            return self
        try:
            entries = tomllib.loads(path.read_text(encoding="utf-8")).get("methods", {})
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"policy_file {path}: {error}") from error
        methods = dict(self._methods)
        for method, roles in entries.items():
            service = method.partition("/")[0]
            if method not in methods:
                if any(known.startswith(f"{service}/") for known in methods):
                    raise SettingsError(f"policy_file {path}: {service} has no method {method.rpartition('/')[2]!r}")
                continue  # one file may serve every service of a site
            try:
                methods[method] = frozenset(Role(role) for role in roles)
            except (TypeError, ValueError) as error:
                raise SettingsError(f"policy_file {path}: {method}: {error}; roles are {', '.join(Role)}") from error
        return Policy(methods)


def _names(roles: frozenset[Role]) -> str:
    return ", ".join(sorted(roles)) or "none"

"""Package URLs and the OSV ecosystems that they belong to.

Syntax: https://github.com/package-url/purl-spec; ecosystem names: https://ossf.github.io/osv-schema/.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from packageurl import PackageURL
from packaging.utils import canonicalize_name

MAX_LENGTH = 1_024


class PurlError(ValueError):
    """A text that is no package URL; the message says why."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package as advisories name it. `version` is empty where the URL states none."""

    ecosystem: str
    """OSV's name; empty for a purl type that OSV has no ecosystem for."""
    type: str
    name: str
    version: str


_ECOSYSTEMS = {
    "pypi": "PyPI",
    "npm": "npm",
    "golang": "Go",
    "cargo": "crates.io",
    "julia": "Julia",
    "bitnami": "Bitnami",
    "hex": "Hex",
    "swift": "SwiftURL",
    "githubactions": "GitHub Actions",
    "gem": "RubyGems",
    "maven": "Maven",
    "nuget": "NuGet",
    "composer": "Packagist",
    "pub": "Pub",
    "hackage": "Hackage",
    "cran": "CRAN",
    "conan": "ConanCenter",
}
_SEPARATORS = {"maven": ":"}


@lru_cache(maxsize=16_384)
def parse(text: str) -> Package:
    """Read a package URL.

    Raises `PurlError`.
    """
    if len(text) > MAX_LENGTH:
        raise PurlError(f"package URL of {len(text)} characters; at most {MAX_LENGTH} are read")
    try:
        purl = PackageURL.from_string(text)
    except ValueError as error:
        raise PurlError(f"{text!r} is no package URL (pkg:type/namespace/name@version): {error}") from error
    name = f"{purl.namespace}{_SEPARATORS.get(purl.type, '/')}{purl.name}" if purl.namespace else purl.name
    return Package(
        ecosystem=_ECOSYSTEMS.get(purl.type, ""),
        type=purl.type,
        name=canonicalize_name(name) if purl.type == "pypi" else name,
        version=purl.version or "",
    )

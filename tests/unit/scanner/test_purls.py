"""Package URLs."""

from __future__ import annotations

import pytest

from securenet_scanner import purls

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "ecosystem", "name", "version"),
    [
        ("pkg:pypi/Jinja2@2.4.1", "PyPI", "jinja2", "2.4.1"),
        ("pkg:pypi/zope.interface@5", "PyPI", "zope-interface", "5"),
        ("pkg:golang/github.com/gin-gonic/gin@v1.5.0", "Go", "github.com/gin-gonic/gin", "v1.5.0"),
        ("pkg:npm/%40angular/core@1.0.0", "npm", "@angular/core", "1.0.0"),
        ("pkg:cargo/openssl@0.8.0?arch=x#src", "crates.io", "openssl", "0.8.0"),
        ("pkg:maven/org.apache.xmlgraphics/batik-anim@1.9.1", "Maven", "org.apache.xmlgraphics:batik-anim", "1.9.1"),
        ("pkg:pypi/x@1%2Blocal", "PyPI", "x", "1+local"),
        ("pkg:pypi/x", "PyPI", "x", ""),
        ("pkg:generic/x@1", "", "x", "1"),
    ],
)
def test_names_as_advisories_have_them(text: str, ecosystem: str, name: str, version: str) -> None:
    package = purls.parse(text)
    assert (package.ecosystem, package.name, package.version) == (ecosystem, name, version)


@pytest.mark.parametrize("text", ["", "jinja2==2.4.1", "pkg:", "pkg:pypi", "pkg:pypi/", "pkg:pypi/" + "x" * 2000])
def test_what_is_no_package_url_is_refused(text: str) -> None:
    with pytest.raises(purls.PurlError):
        purls.parse(text)

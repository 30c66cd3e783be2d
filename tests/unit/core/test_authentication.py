"""Tokens, certificates, policy: who is let in and as whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from securenet_core.authentication import Authenticator, principal_of
from securenet_core.authorization import Policy
from securenet_core.certificates import DevelopmentAuthority
from securenet_core.exceptions import PermissionDeniedError, SettingsError, UnauthenticatedError
from securenet_core.principal import LOCAL, Principal, Role
from securenet_core.settings import ServerSettings

pytestmark = pytest.mark.unit


class FakeContext:
    def __init__(self, *metadata: tuple[str, str], certificate: bytes | None = None) -> None:
        self._metadata = metadata
        self._certificate = certificate

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [self._certificate]} if self._certificate else {}


def test_loopback_without_tokens_is_local() -> None:
    assert Authenticator.from_settings(ServerSettings()).identify(FakeContext()) is LOCAL


def test_a_tokens_file_ends_anonymity(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text("tokens = []\n")
    authenticator = Authenticator.from_settings(ServerSettings(tokens_file=tokens))
    with pytest.raises(UnauthenticatedError, match="no credentials"):
        authenticator.identify(FakeContext())


@pytest.mark.parametrize("value", ["Basic abc", "Bearer", "Bearer ", "token"])
def test_another_scheme_is_refused(tmp_path: Path, value: str) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(f'[[tokens]]\nsha256 = "{"0" * 64}"\nsubject = "s"\ntenant = "t"\nroles = []\n')
    authenticator = Authenticator.from_settings(ServerSettings(tokens_file=tokens))
    with pytest.raises(UnauthenticatedError, match="Bearer"):
        authenticator.identify(FakeContext(("authorization", value)))


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ('sha256 = "abc"\nsubject = "s"\ntenant = "t"\nroles = []', "64 hexadecimal"),
        (f'sha256 = "{"0" * 64}"\ntenant = "t"\nroles = []', "lacks 'subject'"),
        (f'sha256 = "{"0" * 64}"\nsubject = "s"\ntenant = "No Tenant"\nroles = []', "tenant 'No Tenant'"),
        (f'sha256 = "{"0" * 64}"\nsubject = "s"\ntenant = "t"\nroles = ["king"]', "one of"),
        (f'sha256 = "{"0" * 64}"\nsubject = "s"\ntenant = "t"\nroles = []\nexpires = 2027-01-01', "offset"),
    ],
)
def test_a_wrong_tokens_file_says_what_is_wrong(tmp_path: Path, entry: str, complaint: str) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(f"[[tokens]]\n{entry}\n")
    with pytest.raises(SettingsError, match=complaint):
        Authenticator.from_settings(ServerSettings(tokens_file=tokens))


def test_a_certificate_names_subject_tenant_and_roles(tmp_path: Path) -> None:
    ann = Principal("ann", "acme", frozenset({Role.ANALYST, Role.MODEL_PUBLISHER}))
    files = DevelopmentAuthority(tmp_path).issue_client(ann)
    assert principal_of(x509.load_pem_x509_certificate(files.certificate.read_bytes())) == ann


def test_a_certificate_without_a_tenant_is_refused(tmp_path: Path) -> None:
    files = DevelopmentAuthority(tmp_path).issue_server("server", ["localhost"])
    with pytest.raises(UnauthenticatedError, match="tenant"):
        principal_of(x509.load_pem_x509_certificate(files.certificate.read_bytes()))


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    authority = DevelopmentAuthority(tmp_path)
    files = authority.issue_server("server", ["localhost"])
    assert files.key.stat().st_mode & 0o777 == 0o600
    assert authority.ca.key.stat().st_mode & 0o777 == 0o600


def test_an_authority_is_found_again(tmp_path: Path) -> None:
    first = DevelopmentAuthority(tmp_path).ca.certificate.read_bytes()
    assert DevelopmentAuthority(tmp_path).ca.certificate.read_bytes() == first


POLICY = Policy({"p.S/Read": frozenset(Role), "p.S/Write": frozenset({Role.ADMIN})})
READER = Principal("rob", "acme", frozenset({Role.READER}))


def test_the_policy_names_what_is_missing() -> None:
    POLICY.check(READER, "p.S/Read")
    with pytest.raises(PermissionDeniedError, match=r"rob has role reader; Write needs one of admin"):
        POLICY.check(READER, "p.S/Write")


def test_a_method_without_an_entry_is_for_nobody() -> None:
    with pytest.raises(PermissionDeniedError):
        POLICY.check(LOCAL, "p.S/Forgotten")


def test_a_policy_file_overrides_and_other_services_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('[methods]\n"p.S/Write" = ["reader"]\n"q.T/Other" = ["admin"]\n')
    POLICY.overridden_by(path).check(READER, "p.S/Write")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[methods]\n"p.S/Wrte" = []', "no method 'Wrte'"),
        ('[methods]\n"p.S/Write" = ["king"]', "king"),
        ("[", "policy"),
    ],
)
def test_a_wrong_policy_file_says_what_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=complaint):
        POLICY.overridden_by(path)

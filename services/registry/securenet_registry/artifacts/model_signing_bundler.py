"""OpenSSF Model Signing bundles, so that other people's tools can verify a version's files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path


class ModelSigningBundler:
    """Signs with an EC key. The library is loaded at the first use, since it takes more than a second."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True, mode=0o700)

    def bundle(self, files: Mapping[str, Path], private_key: Path) -> str:
        """The bundle over files, by their paths below the version; a sigstore bundle as JSON."""
        from model_signing import signing  # noqa: PLC0415 - see above

        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            root = Path(folder) / "version"
            for path, place in files.items():
                copy = root / path
                copy.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(place, copy)
                except OSError:
                    shutil.copyfile(place, copy)
            signature = Path(folder) / "model.sig"
            config = signing.Config()  # type: ignore[no-untyped-call]  # the library does not type its constructor
            config.use_elliptic_key_signer(private_key=private_key).sign(root, signature)
            return signature.read_text(encoding="utf-8")

"""Fetches feeds over HTTPS, from hosts that are allowed, with a bound on what comes."""

from __future__ import annotations

import http.client
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from securenet_scanner.advisories.feeds import FeedError
from securenet_scanner.advisories.importing import ImportStep, Teller

_CHUNK = 1 << 18


class HttpsFeedSource:
    """`FeedSource` over the standard library. A redirect may lead only where the first address might have."""

    def __init__(self, hosts: Sequence[str], max_bytes: int, timeout: float) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._opener = urllib.request.OpenerDirector()
        redirects = _CheckedRedirects(self.check)
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            redirects,
        ):
            self._opener.add_handler(handler)

    def check(self, url: str) -> str:
        """Why an address is not fetched; empty where it is."""
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port
        except ValueError as error:
            return f"{url!r} is no address: {error}"
        if parts.scheme != "https" or not parts.hostname or parts.username is not None:
            return f"{url!r}: expected https://host/path"
        if parts.hostname.lower() not in self._hosts or port not in {None, 443}:
            return f"host {parts.hostname!r} is not allowed; the setting knowledge_hosts names those that are"
        return ""

    def fetch(self, urls: Sequence[str], folder: Path, tell: Teller, cancelled: threading.Event) -> None:
        """Fetch every address into the folder.

        Raises `FeedError` naming the address.
        """
        done = 0
        for number, url in enumerate(urls):
            name = Path(urllib.parse.urlsplit(url).path).name or "feed"
            try:
                with self._opener.open(url, timeout=self._timeout) as response:
                    done = self._save(response, folder / f"{number:03}-{name}", done, tell, cancelled)
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                raise FeedError(f"{url}: {error}") from error

    def _save(
        self, response: http.client.HTTPResponse, path: Path, done: int, tell: Teller, cancelled: threading.Event
    ) -> int:
        size = 0
        with path.open("wb") as file:
            while chunk := response.read(_CHUNK):
                if cancelled.is_set():
                    raise FeedError("nobody waits for the import any more")
                size += len(chunk)
                if size > self._max_bytes:
                    raise FeedError(f"{path.name}: more than {self._max_bytes} bytes")
                file.write(chunk)
                tell(ImportStep(f"fetching {path.name}", bytes_read=done + size))
        return done + size


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, check: Callable[[str], str]) -> None:
        self._check = check

    def redirect_request(  # noqa: PLR0917 - the signature is the standard library's
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Follow only to an address that would be fetched by itself."""
        if problem := self._check(newurl):
            raise urllib.error.URLError(f"redirected to {newurl}: {problem}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

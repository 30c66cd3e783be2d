"""Services as child processes of a command or a program, for who has none running.

>>> with EmbeddedSuite(["detection"], Path("data")) as suite, SecureNet(suite.connection()) as net:
...     net.detection.analyze(Flow("10.0.0.5", "192.0.2.1", dst_port=22))
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from securenet_client.connection import ConnectionSettings
from securenet_client.service_process import MODULES, POLL, ServiceProcess
from securenet_core.exceptions import FailedPreconditionError, UnavailableError

#: Public key of an embedded registry, below its data folder; detection serves no model that another key signed.
SIGNING_KEY: Final = Path("keys/signing.pub.pem")

#: Model that detection serves unless told otherwise.
DEFAULT_MODEL: Final = "flow-threat"

#: What the names of anomaly models end in; one that was promoted is served beside the other.
ANOMALY_SUFFIX: Final = "-anomaly"

#: Seconds until a service must say SERVING; the first start compiles loops and makes databases.
START_TIMEOUT: Final = 120.0

#: What an embedded service does not take from the environment: it listens on loopback for this process alone.
_OWN_SETTINGS: Final = (
    "HOST", "PORT", "ADDRESS_FILE", "DATA_DIR", "TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA", "TOKENS_FILE",
    "POLICY_FILE", "HTTP_PORT",
)  # fmt: skip


class EmbeddedSuite:
    """Services on free ports of loopback, stopped when the context is left.

    Args:
        services: detection, scanner, registry; the registry and detection are wired to each other where both are there.
        data_dir: what they keep.
        detection_data_dir: what detection keeps, where that is another folder.
        ports: port by service name; a free one where none is given.
        environment: settings of services by their environment name, over what this process has.
        keep_environment: services take TLS, tokens and addresses from this process's environment.
        model: name of the model that detection serves; the one that was promoted last if empty.
        on_step: hears what is being done.
    """

    def __init__(
        self,
        services: Sequence[str],
        data_dir: Path,
        *,
        detection_data_dir: Path | None = None,
        ports: Mapping[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
        keep_environment: bool = False,
        model: str = "",
        on_step: Callable[[str], None] | None = None,
    ) -> None:
        unknown = [name for name in services if name not in MODULES]
        if unknown:
            raise FailedPreconditionError(f"services: {', '.join(unknown)}; expected {', '.join(MODULES)}")
        self.processes = {
            name: ServiceProcess(name, data_dir / "logs" / f"{name}.log") for name in MODULES if name in services
        }
        self.data_dir = data_dir
        self._detection_data_dir = detection_data_dir or data_dir
        self._ports = ports or {}
        self._given = environment or {}
        self._keep = keep_environment
        self._model = model
        self._anomaly_model = ""
        self._on_step = on_step or (lambda _: None)
        self._stack = ExitStack()

    @property
    def addresses(self) -> dict[str, str]:
        """`host:port` by service name."""
        return {name: process.address for name, process in self.processes.items() if process.address}

    def connection(self, base: ConnectionSettings | None = None) -> ConnectionSettings:
        """How to reach the services."""
        base = base or ConnectionSettings()
        return ConnectionSettings(
            {**base.addresses, **self.addresses}, base.ca, base.certificate, base.key, base.token, base.server_name,
            base.timeout,
        )  # fmt: skip

    def start(self, base: ConnectionSettings | None = None, timeout: float = START_TIMEOUT) -> None:
        """Starts every service and waits until all of them serve.

        Args:
            base: certificates and token, where the services want them.
            timeout: seconds.

        Raises:
            UnavailableError: one did not come up; its log's last lines stand in the message.
        """
        deadline = time.monotonic() + timeout
        run_dir = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="securenet-")))
        try:
            for name, process in self.processes.items():
                self._on_step(f"starting {name}")
                if name == "detection" and "registry" in self.processes:
                    self._wait_for_registry(base, deadline)
                process.start(self._environment(name), run_dir)
            for name in self.processes:
                self._on_step(f"waiting for {name}")
                self._serving(name, base, deadline)
        except BaseException:
            self.stop()
            raise

    def _wait_for_registry(self, base: ConnectionSettings | None, deadline: float) -> None:
        """Until it can say which model was promoted, where that is the question; else until it has an address."""
        if self._model or not (self.data_dir / "registry.sqlite").exists():
            self.processes["registry"].wait_listening(deadline)
        else:
            self._serving("registry", base, deadline)
            self._model, self._anomaly_model = self._promoted(base)

    def _serving(self, name: str, base: ConnectionSettings | None, deadline: float) -> None:
        process = self.processes[name]
        process.wait_listening(deadline)
        process.wait_serving(self.connection(base=base), deadline)

    def wait_for_model(self, base: ConnectionSettings | None = None, timeout: float = 60.0) -> str:
        """Waits until detection serves its model's champion. Answers the version's name, empty where there is none."""
        from securenet_client.suite import SecureNet  # noqa: PLC0415 - the suite needs more than starting services does

        with SecureNet(self.connection(base=base)) as net:
            models = net.registry.list_models()
            name = self._model or DEFAULT_MODEL
            champion = next((model.alias() for model in models if model.id == name), None)
            if champion is None:
                return ""
            deadline = time.monotonic() + timeout
            self._on_step("waiting for the model")
            while True:
                serving = net.detection.get_serving_model()
                model = serving.current.model if serving.current else None
                if model is not None and model.name.endswith(f"/versions/{champion.version}"):
                    return model.name
                if time.monotonic() > deadline or " refused" in serving.detail:
                    raise UnavailableError(f"detection does not serve {name}: {serving.detail}")
                time.sleep(POLL)

    def _promoted(self, base: ConnectionSettings | None) -> tuple[str, str]:
        """The model and the anomaly model whose champions were moved last; empty where there is none."""
        from securenet_client.registry.client import RegistryClient  # noqa: PLC0415 - as above

        with RegistryClient(settings=self.connection(base=base)) as registry:
            moved = [(found.update_time, model.id) for model in registry.list_models() if (found := model.alias())]
        moved.sort(key=lambda pair: (pair[0] is not None, pair[0], pair[1]), reverse=True)
        names = [name for _, name in moved]
        return (
            next((name for name in names if not name.endswith(ANOMALY_SUFFIX)), ""),
            next((name for name in names if name.endswith(ANOMALY_SUFFIX)), ""),
        )

    def _environment(self, name: str) -> dict[str, str]:
        prefix = f"SECURENET_{name.upper()}_"
        environment = dict(os.environ)
        if not self._keep:
            for setting in _OWN_SETTINGS:
                environment.pop(prefix + setting, None)
        environment[f"{prefix}PORT"] = str(self._ports.get(name, 0))
        environment[f"{prefix}DATA_DIR"] = str(self._detection_data_dir if name == "detection" else self.data_dir)
        if name == "detection":
            # Feeds are the user's, also where findings of one analysis go elsewhere.
            environment.setdefault(f"{prefix}INTEL__FOLDER", str(self.data_dir.absolute() / "intel"))
        if name == "detection" and "registry" in self.processes:
            environment[f"{prefix}REGISTRY"] = self.processes["registry"].address
            environment.setdefault(f"{prefix}MODEL_TRUSTED_KEY", str(self.data_dir.absolute() / SIGNING_KEY))
            if self._model:
                environment[f"{prefix}MODEL_NAME"] = self._model
            if self._anomaly_model:
                environment[f"{prefix}ANOMALY_MODEL_NAME"] = self._anomaly_model
        environment.update({key: value for key, value in self._given.items() if key.startswith(prefix)})
        return environment

    def stop(self) -> dict[str, int | None]:
        """Stops every service, in the reverse order of their start; answers their exit codes."""
        codes: dict[str, int | None] = {}
        for name, process in reversed(self.processes.items()):
            codes[name] = process.stop()
        self._stack.close()
        return codes

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

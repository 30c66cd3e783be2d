"""Tracking by MLflow: SQLite and a folder in process, or a server."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from securenet_core.exceptions import SecurenetError, UnavailableError
from securenet_registry.artifacts.manifest import Manifest
from securenet_registry.model import ArtifactFormat, ModelVersion, Retraction
from securenet_registry.tracking import Mirrored
from securenet_registry.training.recipe import TREE_TYPES

#: Longest value of a parameter and most metrics of a call that MLflow takes.
_PARAM: Final = 6000
_BATCH: Final = 900

#: Tags that say which version of ours one of theirs is.
_VERSION_TAG: Final = "securenet.version"
_CREATED_TAG: Final = "securenet.created_ns"


class MlflowTracking:
    """See :class:`~securenet_registry.tracking.ModelTracking`.

    MLflow takes seconds to import, so it is loaded at the first call, which nobody's RPC waits for.

    Args:
        uri: tracking URI: of an SQLite file, a database or a server.
        artifacts: folder of artifacts where the tracking store is a database; a server knows its own.
        experiment: prefix of the name of each tenant's experiment.
    """

    def __init__(self, uri: str, artifacts: Path, experiment: str) -> None:
        self._uri = uri
        self._artifacts = artifacts
        self._experiment = experiment
        self._lock = threading.Lock()
        self._connected: Any = None
        self.remote = uri.startswith(("http://", "https://"))

    def log_version(self, version: ModelVersion, manifest: Manifest, files: Mapping[str, Path]) -> Mirrored:
        """See the port."""
        with self._reaching():
            return self._log_version(self._client(), version, manifest, files)

    def retract(self, retraction: Retraction) -> None:
        """See the port. A run is only marked as deleted: `mlflow gc` takes its files."""
        name = _name(retraction.tenant, retraction.model)
        with self._reaching():
            client = self._client()
            with _gone_already():
                client.delete_model_version(name, str(retraction.mirror_version))
            with _gone_already():
                client.delete_run(retraction.run_id)
            if not client.search_model_versions(f"name = '{name}'", max_results=1):
                with _gone_already():
                    client.delete_registered_model(name)

    def aliases(self, tenant: str, model: str) -> Mapping[str, int]:
        """See the port."""
        with self._reaching():
            found = self._client().get_registered_model(_name(tenant, model))
        return {str(alias): int(number) for alias, number in found.aliases.items()}

    def set_alias(self, tenant: str, model: str, alias: str, version: int) -> None:
        """See the port."""
        with self._reaching():
            self._client().set_registered_model_alias(_name(tenant, model), alias, str(version))

    def delete_alias(self, tenant: str, model: str, alias: str) -> None:
        """See the port."""
        with self._reaching():
            self._client().delete_registered_model_alias(_name(tenant, model), alias)

    def ping(self) -> str:
        """See the port."""
        with self._reaching():
            self._client().search_experiments(max_results=1)
        return self._uri.partition("://")[0]

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except SecurenetError:
            raise
        except Exception as error:  # the tool raises whatever its transport or its database does
            who = self._uri.partition("://")[2].partition("/")[0].rpartition("@")[0]
            said = f"{type(error).__name__}: {error}".replace(who or self._uri, "***" if who else self._uri)[:300]
            raise UnavailableError(
                f"MLFLOW_TRACKING_URI {_shown(self._uri)}: {said}", reason="MLFLOW_UNAVAILABLE", retry_after=15.0
            ) from error

    def _log_version(
        self, client: Any, version: ModelVersion, manifest: Manifest, files: Mapping[str, Path]
    ) -> Mirrored:
        name = _name(version.tenant, version.model)
        known = self._registered(client, name, version)
        if known is not None:
            return known
        run = client.create_run(
            self._experiment_of(client, version.tenant),
            run_name=f"{version.model}-{version.version}",
            tags={**version.tags, _VERSION_TAG: version.resource, "securenet.digest": version.digest},
        )
        run_id = str(run.info.run_id)
        self._log(client, run_id, version, manifest)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            _write_model(folder, version, manifest, files, run_id)
            client.log_artifacts(run_id, str(folder), "model")
        client.log_text(run_id, manifest.encode().decode(), "manifest.json")
        client.set_terminated(run_id)
        registered = client.create_model_version(
            name,
            source=f"{run.info.artifact_uri}/model",
            run_id=run_id,
            tags={
                _VERSION_TAG: version.resource,
                _CREATED_TAG: str(version.create_ns),
                "securenet.digest": version.digest,
            },
            description=version.description or None,
        )
        return Mirrored(run_id, int(registered.version))

    def _client(self) -> Any:
        with self._lock:
            if self._connected is None:
                # These must stand before the import: it reports home, and writes past our log, unless told not to.
                os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
                os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
                os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
                # Its defaults try for minutes before they say that nobody is there; we look again by ourselves, and an
                # end of the process waits for what runs.
                os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
                os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
                from mlflow import MlflowClient  # noqa: PLC0415 - see above

                self._connected = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
            return self._connected

    def _experiment_of(self, client: Any, tenant: str) -> str:
        name = f"{self._experiment}/{tenant}"
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = None if self.remote else (self._artifacts / tenant).absolute().as_uri()
        return str(client.create_experiment(name, artifact_location=place))

    def _registered(self, client: Any, name: str, version: ModelVersion) -> Mirrored | None:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - loaded by now

        try:
            client.create_registered_model(name, tags={"securenet.tenant": version.tenant})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        for found in client.search_model_versions(f"name = '{name}'", max_results=10_000):
            # A model that was deleted and made again has a version of the same name, made at another time.
            if (found.tags.get(_VERSION_TAG), found.tags.get(_CREATED_TAG)) == (
                version.resource,
                str(version.create_ns),
            ):
                return Mirrored(str(found.run_id), int(found.version))
        return None

    def _log(self, client: Any, run_id: str, version: ModelVersion, manifest: Manifest) -> None:
        from mlflow.entities import Metric, Param  # noqa: PLC0415 - loaded by now

        now = version.create_ns // 1_000_000
        params = [Param(key, value[:_PARAM]) for key, value in manifest.params.items()]
        params.append(Param("sample_count", str(version.sample_count)))
        metrics = [
            Metric(f"{metric.name}/{_key(metric.dataset)}" if metric.dataset else metric.name, metric.value, now, 0)
            for metric in manifest.metrics
        ]
        client.log_batch(run_id, params=params[:100])
        for start in range(0, len(metrics), _BATCH):
            client.log_batch(run_id, metrics=metrics[start : start + _BATCH])
        for index, capture in enumerate(manifest.lineage.get("captures", ())):
            client.set_tag(run_id, f"securenet.data.{index}", f"{capture['name']} sha256:{capture['sha256']}"[:5000])
        for name, number in manifest.runtime.items():
            client.set_tag(run_id, f"securenet.runtime.{name}", number)


@contextmanager
def _gone_already() -> Iterator[None]:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - loaded by now

    try:
        yield
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_STATE"}:
            raise


def _shown(uri: str) -> str:
    """A URI without what is secret in it."""
    scheme, between, rest = uri.partition("://")
    authority, slash, path = rest.partition("/")
    who, at, where = authority.rpartition("@")
    return f"{scheme}{between}{'***' if who else ''}{at}{where}{slash}{path.partition('?')[0]}"


def _name(tenant: str, model: str) -> str:
    """MLflow's name of a model: neither part holds a full stop."""
    return f"{tenant}.{model}"


def _key(dataset: str) -> str:
    """A capture's name in the characters that MLflow's metric names may have."""
    return "".join(c if c.isalnum() or c in "_-. " else "_" for c in dataset)[:150]


def _write_model(
    folder: Path, version: ModelVersion, manifest: Manifest, files: Mapping[str, Path], run_id: str
) -> None:
    """An MLflow model folder, written here and not by `save_model`, so that this process need not open the model."""
    from mlflow.models import Model  # noqa: PLC0415 - loaded by now

    folder.mkdir()
    model = Model(artifact_path="model", run_id=run_id)
    requirements = [f"{name}=={number}" for name, number in manifest.runtime.items() if name != "python"]
    if version.format is ArtifactFormat.SKOPS:
        shutil.copyfile(files[manifest.source], folder / "model.skops")
        model.add_flavor(
            "sklearn",
            pickled_model="model.skops",
            sklearn_version=manifest.runtime.get("scikit-learn", ""),
            serialization_format="skops",
            skops_trusted_types=list(TREE_TYPES),
            code=None,
        )
        model.add_flavor(
            "python_function",
            loader_module="mlflow.sklearn",
            model_path="model.skops",
            predict_fn="predict_proba",
            python_version=manifest.runtime.get("python", ""),
            env={"virtualenv": "python_env.yaml"},
        )
    else:
        shutil.copyfile(files[manifest.source], folder / "model.onnx")
        model.add_flavor("onnx", data="model.onnx", onnx_version=manifest.runtime.get("onnx", ""), code=None)
        model.add_flavor(
            "python_function",
            loader_module="mlflow.onnx",
            data="model.onnx",
            python_version=manifest.runtime.get("python", ""),
            env={"virtualenv": "python_env.yaml"},
        )
    for path, place in files.items():
        if path != manifest.source:
            extra = folder / "securenet" / path
            extra.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place, extra)
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements))
    python = manifest.runtime.get("python", "")
    environment = f"python: {python}\nbuild_dependencies: [pip]\ndependencies: [-r requirements.txt]\n"
    (folder / "python_env.yaml").write_text(environment)
    model.save(str(folder / "MLmodel"))

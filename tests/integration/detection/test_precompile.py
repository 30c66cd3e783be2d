"""What was compiled into one folder serves from a copy of it: nothing is compiled twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]

_COUNT = """
from securenet_detection.behaviours import kernels
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.detector_settings import DetectorSettings
from securenet_flows import feature_kernels

Engine(DetectorSettings(), ModelSlot()).warm_up()
loops = [f for module in (kernels, feature_kernels) for f in vars(module).values() if getattr(f, "stats", None)]
cached = [f.stats for f in loops if f.stats.cache_path]
print(sum(map(lambda s: sum(s.cache_hits.values()), cached)), sum(map(lambda s: sum(s.cache_misses.values()), cached)))
"""

_FLOWS = """
import sys
import numpy as np
from numba.core.registry import CPUDispatcher
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_flows.batch import Dictionary, FlowBatch

def compiled():
    modules = [module for name, module in sys.modules.items() if name.startswith("securenet_")]
    return sum(len(f.signatures) for m in modules for f in vars(m).values() if isinstance(f, CPUDispatcher))

engine = Engine(DetectorSettings(state=StateSettings(entities=64, members=64)), ModelSlot())
engine.warm_up()
before = compiled()
rows = 4000
rng = np.random.default_rng(1)
addresses = np.zeros((2, rows, 16), np.uint8)
addresses[:, :, 10:] = np.array([255, 255, 10, 0, 0, 0], np.uint8)
addresses[:, :, 15] = rng.integers(0, 255, (2, rows))
addresses[1, ::2, 12] = 8
pick = lambda dtype, *values: rng.choice(np.array(values, dtype), rows)
numeric = {
    "src_port": pick(np.uint16, 0, 8, 50_000), "dst_port": pick(np.uint16, 22, 53, 123, 443, 3389, *range(1, 40)),
    "conn_state": pick(np.uint8, 0, 1, 3, 4), "duration_ns": pick(np.int64, 0, 10**10),
    **{name: pick(np.int64, 0, 48, 10**4, 10**9) for name in ("orig_bytes", "resp_bytes", "orig_pkts", "resp_pkts")},
    "ssh_auth_success": pick(np.bool_, False, True),
}
texts = lambda *values: Dictionary.encode(rng.choice(values, rows).tolist())
text = {
    "service": texts("ssh", "http", "ssl,http", "mining"), "flow_id": Dictionary.encode(map(str, range(rows))),
    "dns_query": texts(*(f"q{n:040x}.example.net" for n in range(300))), "dns_response_code": texts("NXDOMAIN"),
}
flows = FlowBatch(
    np.arange(rows) * 10**8, *addresses, pick(np.uint8, 1, 6, 6, 17), numeric, text,
    {"conn_state": pick(np.bool_, False, True), "resp_bytes": pick(np.bool_, False, True)},
)
for piece in (*flows.split(500), flows.take(slice(0, 1)), flows.take(np.arange(0, 40, 2))):
    engine.analyze(piece)
print(compiled() - before)
"""


_MODELS = """
import sys
from pathlib import Path
import numpy as np
from numba.core.registry import CPUDispatcher
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.models.contributions import Explainer
from securenet_detection.models.onnx_classifier import load_onnx
from securenet_detection.models.onnx_trees import read_trees
from securenet_detection.models.paths import PathExplainer
from securenet_detection.models.tree_scorer import TreeScorer, faster
from securenet_registry.training.onnx_trees import to_onnx

def compiled():
    modules = [module for name, module in sys.modules.items() if name.startswith("securenet_")]
    return sum(len(f.signatures) for m in modules for f in vars(m).values() if isinstance(f, CPUDispatcher))

Engine(DetectorSettings(state=StateSettings(entities=64, members=64)), ModelSlot()).warm_up()
before = compiled()
x = np.random.default_rng(1).normal(size=(500, 4)).astype(np.float32)
boosted = HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=8, random_state=0).fit(x, x[:, 0] > x[:, 1])
forest = IsolationForest(n_estimators=5, max_samples=32, random_state=0).fit(x)
path = Path(sys.argv[1])
for estimator, explainer in ((boosted, Explainer), (forest, PathExplainer)):
    path.write_bytes(to_onnx(estimator, 4, {}))
    trees = read_trees(path.read_bytes(), 4)
    scorer = faster(load_onnx(path, input_name="features", output_name="score", columns=4), trees, x)
    assert isinstance(scorer, TreeScorer)
    for rows in (x, x[::2], np.broadcast_to(x[0], (9, 4))):
        scorer.scores(rows)
        explainer(trees, "abcd", np.zeros(4)).values(rows)
print(compiled() - before)
"""


def run(cache: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, "NUMBA_CACHE_DIR": str(cache)}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of compiled loops."""
    folder = tmp_path_factory.mktemp("built")
    run(folder, "-m", "securenet_detection.precompile")
    return folder


def test_the_first_flows_compile_nothing(built: Path) -> None:
    assert run(built, "-c", _FLOWS).strip() == "0"


def test_a_model_that_is_taken_compiles_nothing(built: Path, tmp_path: Path) -> None:
    assert run(built, "-c", _MODELS, str(tmp_path / "model.onnx")).strip() == "0"


def test_a_copy_of_the_cache_is_warm(built: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    hits, misses = map(int, run(copy, "-c", _COUNT).split())
    assert hits > 0
    assert misses == 0

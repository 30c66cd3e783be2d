#!/usr/bin/env bash
# Makes .venv with exactly what requirements.txt pins, and the workspace's own packages in editable form.
# PYTHON names the interpreter (default python3); nothing outside .venv is changed.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
if ! command -v "$python" >/dev/null; then
  echo "setup: no '$python' on this machine; install Python 3.11 or later, or name one: make setup PYTHON=/path/to/python3.11" >&2
  exit 2
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "setup: $("$python" --version) is too old; 3.11 or later is needed: make setup PYTHON=/path/to/python3.11" >&2
  exit 2
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  echo "setup: $python lacks the venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2
  exit 2
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv

members=()
for member in shared/generated shared/core shared/flows shared/client services/*/; do
  members+=(-e "./${member%/}")
done

# Installers and environments that write no bytecode would have every process compile a thousand modules anew: seconds of
# each start. Tests of packages are left out; a file that is not Python of this version is no reason to stop.
bytecode() {
  .venv/bin/python -m compileall -q -j 0 -x '/tests?/' .venv/lib/python3.*/site-packages >/dev/null 2>&1 || true
  .venv/bin/python -m compileall -q shared services || true
}

export PIP_DISABLE_PIP_VERSION_CHECK=1
if cmp -s requirements.txt .venv/.requirements.txt; then
  # Only members changed what they declare; that takes a second and no network.
  VIRTUAL_ENV=$PWD/.venv .venv/bin/uv pip install --quiet --offline --no-deps --no-build-isolation "${members[@]}"
  bytecode
  touch .venv/.ready
  echo "setup: the workspace's packages are up to date" >&2
  exit 0
fi

echo "setup: installing $(grep -c '^[a-z]' requirements.txt) locked packages into .venv" >&2
rm -f .venv/.requirements.txt
if .venv/bin/python -m pip install --quiet --require-hashes -r tools/uv.txt &&
  VIRTUAL_ENV=$PWD/.venv .venv/bin/uv pip sync --quiet --require-hashes requirements.txt; then
  VIRTUAL_ENV=$PWD/.venv .venv/bin/uv pip install --quiet --no-deps --no-build-isolation "${members[@]}"
else
  # uv does not read pip's configuration; where only pip knows the way to a package index, pip does it, slower.
  echo "setup: uv could not install, trying pip" >&2
  .venv/bin/python -m pip install --quiet --require-hashes -r requirements.txt
  .venv/bin/python -m pip install --quiet --no-deps --no-build-isolation "${members[@]}"
fi
bytecode
cp requirements.txt .venv/.requirements.txt
touch .venv/.ready
echo "setup: done; the command is .venv/bin/securenet" >&2

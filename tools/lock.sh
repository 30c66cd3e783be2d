#!/usr/bin/env bash
# Resolves the whole workspace once and writes one hash-pinned requirements file a deployable, plus the developer's.
# uv.lock itself is not kept: it names download addresses, these files name none.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
rm -f uv.lock
"$uv" lock --quiet
export_to() { # export_to FILE ARGUMENTS…
  local file=$1
  shift
  "$uv" export --quiet --locked --format requirements.txt --no-emit-workspace --no-header --no-annotate "$@" >"$file"
}
for service in detection scanner registry; do
  export_to "services/$service/requirements.txt" --package "securenet-$service" --no-dev --extra postgresql
done
export_to deploy/mlflow/requirements.txt --package securenet-mlflow --no-dev
export_to shared/client/requirements.txt --package securenet-client --no-dev --extra pcap --extra plot
export_to requirements.txt --package securenet --group dev
export_to tools/build.txt --package securenet --only-group build
# The installer itself, so that it is pinned by hash like everything that it installs.
awk '/^uv==/{on=1} on{print} on&&!/\\$/{exit}' requirements.txt >tools/uv.txt
rm -f uv.lock

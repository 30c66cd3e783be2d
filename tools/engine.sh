#!/usr/bin/env bash
# Runs a command with a container engine at hand: tools/engine.sh COMMAND…
#
# Sets COMPOSE (docker compose, or docker-compose) and, where CONTAINER_BASE names a script that prepares engine and
# base images, PYTHON_IMAGE and POSTGRES_IMAGE to the images that it made. Variables that are already set are kept.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "${CONTAINER_BASE:-}" ] && [ -x "$CONTAINER_BASE" ]; then
  echo "engine: preparing engine and base images with $CONTAINER_BASE" >&2
  images=$("$CONTAINER_BASE" postgres)
  PYTHON_IMAGE=${PYTHON_IMAGE:-$(grep -m1 -E '(^|/)python:' <<<"$images" || true)}
  POSTGRES_IMAGE=${POSTGRES_IMAGE:-$(grep -m1 -E '(^|/)postgres:' <<<"$images" || true)}
fi
# Empty is not unset: the defaults of Dockerfile and docker-compose.yml must hold where nobody chose.
if [ -n "${PYTHON_IMAGE:-}" ]; then export PYTHON_IMAGE; else unset PYTHON_IMAGE; fi
if [ -n "${POSTGRES_IMAGE:-}" ]; then export POSTGRES_IMAGE; else unset POSTGRES_IMAGE; fi

if ! command -v docker >/dev/null; then
  echo "engine: no 'docker' on this machine; install a container engine, or name a script that prepares one: CONTAINER_BASE=/path/to/script" >&2
  exit 2
fi
if ! message=$(docker info 2>&1 >/dev/null); then
  echo "engine: docker is installed but its engine does not answer: ${message##*$'\n'}" >&2
  echo "engine: start it (systemctl start docker), or let this user reach it (group docker)" >&2
  exit 2
fi
if [ -z "${COMPOSE:-}" ]; then
  if docker compose version >/dev/null 2>&1; then
    COMPOSE="docker compose"
  elif command -v docker-compose >/dev/null; then
    COMPOSE="docker-compose"
  else
    echo "engine: neither 'docker compose' nor 'docker-compose' (1.29 or later) is on this machine; install one of them" >&2
    exit 2
  fi
fi
export COMPOSE
exec "$@"

#!/usr/bin/env bash
# The composition for people: tools/engine.sh tools/compose.sh up|down [ARGUMENTS…]
# `up` waits until every service is healthy, and leaves the operator's certificate in data/certificates.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${COMPOSE:?call this through tools/engine.sh}"
action=${1:-}
[ $# -eq 0 ] || shift
SECONDS_TO_HEALTH=${SECONDS_TO_HEALTH:-300}

healthy() { # healthy SERVICE: whether its container is running and says so
  local container
  container=$($COMPOSE ps -q "$1")
  [ -n "$container" ] && [ "$(docker inspect -f '{{.State.Health.Status}}' "$container")" = healthy ]
}

case $action in
  up)
    mkdir -p data/shared data/certificates
    $COMPOSE build
    $COMPOSE up --detach
    addresses=()
    for service in registry:50053 scanner:50052 detection:50051; do
      name=${service%:*}
      until healthy "$name"; do
        if [ "$SECONDS" -gt "$SECONDS_TO_HEALTH" ]; then
          echo "up: $name is not healthy after $SECONDS_TO_HEALTH s; the end of its log:" >&2
          $COMPOSE logs --tail=30 "$name" >&2
          exit 1
        fi
        sleep 1
      done
      address=$($COMPOSE port "$name" "${service#*:}")
      echo "up: $name is healthy on $address" >&2
      addresses+=("SECURENET_${name^^}_ADDRESS=localhost:${address##*:}")
    done
    # The container has run and ended; its volume can still be read.
    container=$($COMPOSE ps -a -q certificates 2>/dev/null || $COMPOSE ps -q certificates)
    docker cp "$container:/issued/operator/." data/certificates
    echo "up: to call the services:" >&2
    echo "  export SECURENET_CA=$PWD/data/certificates/ca.pem"
    echo "  export SECURENET_CERT=$PWD/data/certificates/client.pem SECURENET_KEY=$PWD/data/certificates/client-key.pem"
    echo "  export ${addresses[*]}"
    ;;
  down) $COMPOSE down --remove-orphans "$@" ;;
  *)
    echo "compose: got '$action'; expected up or down" >&2
    exit 2
    ;;
esac

# Every image of SecureNet. SERVICE says which: detection, scanner, registry (target service), client, mlflow.
#
#   docker build --build-arg SERVICE=detection --target service --tag securenet/detection .
#
# Packages are installed from the deployable's own lock, by hash; pip's configuration (mirrors, proxies, CA) is that of
# PYTHON_IMAGE. No step needs BuildKit.
ARG PYTHON_IMAGE=python:3.11-slim

# ---- what building and running share: the interpreter and the user ---------------------------------------------------
FROM ${PYTHON_IMAGE} AS base
RUN groupadd --gid 10001 securenet \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/securenet --shell /usr/sbin/nologin securenet
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

# ---- /opt/securenet: a virtual environment with exactly one deployable in it -----------------------------------------
FROM base AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY tools/build.txt /build/tools/build.txt
RUN python -m venv /build/venv \
 && /build/venv/bin/python -m pip install --quiet --require-hashes -r /build/tools/build.txt
ARG SERVICE
# services/detection, shared/client, deploy/mlflow: each keeps its lock beside itself.
COPY */${SERVICE}/requirements.txt /build/requirements.txt
RUN python -m venv --without-pip /opt/securenet \
 && /build/venv/bin/python -m pip --python /opt/securenet/bin/python install --quiet --require-hashes --no-deps \
      -r /build/requirements.txt
COPY tools/members.py /build/tools/members.py
COPY shared /build/shared
COPY services /build/services
WORKDIR /build
# Only the members that the deployable declares; everything that they need is there already.
RUN for member in $(python tools/members.py "$SERVICE"); do \
      venv/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir /build/wheels "./$member" \
      || exit 1; \
    done \
 && if [ -d wheels ]; then \
      venv/bin/python -m pip --python /opt/securenet/bin/python install --quiet --no-deps --no-index wheels/*.whl; \
    fi
# Compiled loops, so that a first start need not compile them for half a minute. On another kind of CPU it does.
RUN mkdir -p /opt/securenet/numba \
 && if [ "$SERVICE" = detection ]; then \
      NUMBA_CACHE_DIR=/opt/securenet/numba /opt/securenet/bin/python -m securenet_detection.precompile; \
    fi

# ---- a gRPC service --------------------------------------------------------------------------------------------------
FROM base AS service
ARG SERVICE
COPY --from=builder /opt/securenet /opt/securenet
# Mount points; a named volume takes over owner and mode of the folder that it is mounted on.
RUN mkdir -p /certificates /var/lib/securenet \
 && chown 10001:10001 /certificates /var/lib/securenet \
 && chmod 0700 /certificates /var/lib/securenet
# The root file system may be read-only: state and what numba compiles go to the volume, the rest to /tmp. numba uses no
# cache that it cannot write to, so what the image brings is copied to the volume, where it is newer than what is there.
ENV PATH=/opt/securenet/bin:$PATH \
    HOME=/tmp \
    NUMBA_CACHE_DIR=/var/lib/securenet/numba \
    SECURENET_MODULE=securenet_${SERVICE}
LABEL org.opencontainers.image.title="securenet-${SERVICE}" org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /var/lib/securenet
USER 10001:10001
STOPSIGNAL SIGTERM
# SECURENET_PROBE_* say where and with which certificate to ask.
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=6 CMD ["python", "-m", "securenet_core.health_probe"]
CMD ["sh", "-c", "mkdir -p \"$NUMBA_CACHE_DIR\" && cp -ru /opt/securenet/numba/. \"$NUMBA_CACHE_DIR\"/ || true; exec python -m \"$SECURENET_MODULE\""]

# ---- the command line ------------------------------------------------------------------------------------------------
FROM service AS client
HEALTHCHECK NONE
ENTRYPOINT ["securenet"]
CMD ["--help"]

# ---- MLflow's tracking server, for its UI and for runs from elsewhere ------------------------------------------------
FROM service AS mlflow
ENV MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    MLFLOW_HOST=0.0.0.0 \
    MLFLOW_PORT=5000 \
    MLFLOW_WORKERS=1
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=10s --start-period=120s --retries=6 \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['MLFLOW_PORT'] + '/health', timeout=5)"]
CMD ["mlflow", "server"]

# ---- certificates and databases of docker-compose.yml ----------------------------------------------------------------
FROM service AS prepare
USER 0:0
RUN mkdir -p /authority /issued/detection /issued/scanner /issued/registry /issued/operator \
 && chown -R 10001:10001 /authority /issued \
 && chmod -R 0700 /authority /issued
COPY deploy/compose/prepare.py /opt/securenet/prepare.py
USER 10001:10001
HEALTHCHECK NONE
ENTRYPOINT ["python", "/opt/securenet/prepare.py"]
CMD []

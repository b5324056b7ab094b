# The service as one image: no compiler, no pip, no tests, no embedded PostgreSQL; every setting from the environment.

# A release is built from a digest, so that the same base is taken again: --build-arg BASE=python:3.12-slim@sha256:…
ARG BASE=python:3.12-slim
FROM $BASE AS build
RUN python -m venv --without-pip /opt/venv
COPY requirements.txt /tmp/
RUN pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --no-compile --only-binary :all: --require-hashes -r /tmp/requirements.txt
WORKDIR /app
COPY LICENSE ./
COPY sql/ sql/
COPY bin/ bin/
COPY todo_service/ todo_service/
# Byte-code is checked by hash: still valid when a builder rewrites file times, not used when a file is replaced.
# The modes are set because a checkout under a strict umask would be unreadable to the service's user.
RUN python -m compileall -q -j 0 --invalidation-mode checked-hash /opt/venv/lib todo_service \
    && chmod -R u=rwX,go=rX /opt/venv /app


FROM $BASE
# The base ships its standard library without byte-code; it cannot be written later.
RUN pip uninstall --yes --quiet --root-user-action=ignore pip \
    && rm -rf /usr/local/lib/python3*/ensurepip \
    && python -m compileall -q -j 0 --invalidation-mode checked-hash /usr/local/lib/python3* \
    && useradd --no-log-init --uid 10001 --user-group --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin todo
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
# With TODO_SERVICE_VENV the scripts of bin/ use this environment and install nothing.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TODO_SERVICE_VENV=/opt/venv \
    ENVIRONMENT=production \
    SERVER_HOST=0.0.0.0
# A number, so that a cluster can see that it is not root.
USER 10001:10001
EXPOSE 8000
# Liveness, not readiness: a failed check restarts the container, and no restart brings a database back or
# applies a migration. Load balancers ask /health/ready. The address to connect to may be 0.0.0.0: that is this container.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; setting = os.environ.get; \
        host = setting('SERVER_HOST') or '127.0.0.1'; \
        port = int(setting('SERVER_PORT') or setting('PORT') or 8000); \
        service = http.client.HTTPConnection(host, port, timeout=4); \
        service.request('GET', '/health/live'); \
        sys.exit(service.getresponse().status != 200)"]
# Python itself is process 1, so the signal reaches it; with WEB_CONCURRENCY it reaps the workers it starts. Ending takes
# DRAIN_SECONDS (5), then up to 11 for requests in flight: stop it with a patience of 20 s, not with Docker's 10.
STOPSIGNAL SIGTERM
# Last, since they differ from build to build: --build-arg REVISION=$(git rev-parse HEAD)
# --build-arg CREATED=$(date -u +%Y-%m-%dT%H:%M:%SZ)
ARG BASE=python:3.12-slim
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Todo Service" \
      org.opencontainers.image.description="A multi-user todo backend: one HTTP service, PostgreSQL behind it" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.created=$CREATED \
      org.opencontainers.image.base.name=$BASE
CMD ["python", "-m", "todo_service"]

# One image for the router and for the emulated fleet (docker-compose.yml starts both).

FROM python:3.11-slim AS packages
COPY requirements/runtime.lock /tmp/runtime.lock
RUN python -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/runtime.lock

FROM python:3.11-slim
# libgomp: what the on-device engine (llama.cpp) is linked with.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin router \
 && install --directory --owner router /var/lib/inference-router
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    INFERENCE_ROUTER_HOST=0.0.0.0 \
    INFERENCE_ROUTER_LOG_JSON=true \
    INFERENCE_ROUTER_STATE_DIR=/var/lib/inference-router
WORKDIR /app
COPY backends/ backends/
COPY simulation/ simulation/
COPY supervise/ supervise/
COPY router/ router/
COPY config/ config/
RUN python -m compileall -q router backends simulation
USER 10001
# Journals of usage and the last good fleet: what outlives this container and the store.
VOLUME /var/lib/inference-router
EXPOSE 50051 50052 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('INFERENCE_ROUTER_HTTP_PORT', '8080') + '/readyz', timeout=2)"]
ENTRYPOINT ["python", "-m", "router"]
CMD ["serve", "--config", "config/"]

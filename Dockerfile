# Three images of one checkout. `api` holds what serves requests and nothing else; `tools` adds what
# sets the stack up, fills it with sample data and plays traffic; `boards` the built viewer.

FROM node:22-bookworm-slim AS viewer
WORKDIR /viewer
COPY grafana/viewer .
RUN npm ci --no-progress && npm run build

FROM python:3.13-slim-bookworm AS api-packages
COPY requirements/service.txt /tmp/requirements.txt
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: -r /tmp/requirements.txt \
    && /opt/venv/bin/pip uninstall --yes pip

FROM python:3.13-slim-bookworm AS tools-packages
COPY requirements/stack.txt /tmp/requirements.txt
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes -r /tmp/requirements.txt \
    && /opt/venv/bin/pip uninstall --yes pip

FROM python:3.13-slim-bookworm AS base
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin vitals
WORKDIR /app

FROM base AS tools
COPY --from=tools-packages /opt/venv /opt/venv
COPY alerts alerts
COPY export/__init__.py export/static_site.py export/
COPY grafana/viewer/index.html grafana/viewer/index.html
COPY rules rules
COPY service service
COPY stack stack
COPY vitals vitals
RUN install --directory --owner=10001 --group=10001 /data
USER 10001:10001
ENTRYPOINT ["python", "-m"]

FROM tools AS boards
COPY grafana/dashboards grafana/dashboards
COPY --from=viewer /viewer/dist grafana/viewer/dist

FROM base AS api
COPY --from=api-packages /opt/venv /opt/venv
COPY service service
COPY vitals vitals
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=6 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["python", "-m", "service"]

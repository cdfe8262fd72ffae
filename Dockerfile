# One image for every process: `parley api`, `parley worker`, `parley migrate`.
#
#   docker build -t parley .
#
# Only the two base images, what the lock files name by its hash, and the folders below come in.
# `make image-check` carries out these instructions where there is no Docker, and tries the result.
ARG NODE=24-bookworm-slim
# The release that the tests run on.
ARG PYTHON=3.11-slim-bookworm

FROM node:${NODE} AS page
WORKDIR /build/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --silent
COPY web ./
RUN npm run -s build

FROM python:${PYTHON} AS packages
# No compiler: a package without a wheel for this machine ends the build here.
COPY requirements-service.lock /build/
RUN python -m venv --without-pip /opt/parley \
 && python -m pip --python /opt/parley/bin/python install -q --no-cache-dir --no-compile --no-deps \
      --require-hashes --only-binary :all: -r /build/requirements-service.lock
WORKDIR /srv/parley
COPY docker-compose.yml ./
COPY api api
COPY cli cli
COPY migrations migrations
COPY shared shared
COPY worker worker
COPY --from=page /build/api/page api/page
# What is compiled here is never looked at again: the file system of a container may be read-only.
RUN /opt/parley/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/parley /srv/parley

FROM python:${PYTHON}
COPY --from=packages /opt/parley /opt/parley
COPY --from=packages /srv/parley /srv/parley
ENV PATH=/opt/parley/bin:$PATH \
    PYTHONPATH=/srv/parley \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/srv/parley \
    PARLEY_HOST=0.0.0.0
WORKDIR /srv/parley
# A number, so that Kubernetes can see that it isn't root. Nothing of the image belongs to it.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-m", "cli.alive"]
ENTRYPOINT ["python", "-m", "cli.main"]
CMD ["api"]

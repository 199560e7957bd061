# A node of a Ray cluster that trains for Pawprint: Ray, and the install tree of Pawprint's image.
#
#   make image
#   docker build --file docker/ray.Dockerfile --tag pawprint-ray docker
#
# BASE is Debian; with rayproject/ray, RAY is not installed again.

ARG BASE=debian:bookworm-slim
ARG PAWPRINT=pawprint

# hadolint ignore=DL3006
FROM ${PAWPRINT} AS pawprint

FROM ${BASE}
ARG RAY=2.60.0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/ray \
    && /opt/ray/bin/pip install --no-cache-dir "ray[default]==${RAY}" \
    && useradd --uid 10001 --create-home trainer \
    && install --directory --owner trainer /var/tmp/pawprint
COPY --from=pawprint /opt/pawprint /opt/pawprint
ENV PATH=/opt/ray/bin:/opt/pawprint/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    RAY_DISABLE_USAGE_STATS=1
USER 10001:10001
ENTRYPOINT ["ray"]

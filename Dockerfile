# Pawprint's image: the install tree of `make dist`, on a slim Debian. Every step is a make target, so
# each can be run without a container engine.
#
#   docker build --tag pawprint .                          for the CPU
#   docker build --build-arg CUDA=1 --tag pawprint:cuda .  with the CUDA libraries

ARG RUST=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST}-${DEBIAN} AS tools
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# libtorch and the base weights: downloaded again only if their pinned versions or CUDA change.
FROM tools AS libtorch
ARG CUDA=0
COPY Makefile ./
COPY scripts/libtorch scripts/libtorch-requirements*.txt scripts/
RUN PIP_NO_CACHE_DIR=1 make libtorch CUDA=${CUDA}
COPY scripts/base-weights scripts/base-weights-requirements.txt scripts/
RUN PIP_NO_CACHE_DIR=1 make base-weights

# The dependencies, built with an empty program: built again only if the manifest changes.
FROM libtorch AS dependencies
COPY Cargo.toml Cargo.lock build.rs ./
COPY build build
COPY .cargo .cargo
RUN mkdir -p src benches/load \
    && echo 'fn main() {}' | tee src/main.rs > benches/load/main.rs \
    && touch src/lib.rs \
    && make build \
    && cargo clean --release --package pawprint \
    && rm -r src benches

FROM dependencies AS build
COPY . .
RUN make dist

FROM debian:${DEBIAN}-slim
# Pretrained weights are downloaded over TLS on demand.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /build/dist /opt/pawprint
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin pawprint \
    && install --directory --owner=pawprint --group=pawprint /data

ENV PATH=/opt/pawprint/bin:$PATH \
    PAWPRINT_DATA_DIR=/data \
    PAWPRINT_LISTEN=0.0.0.0:8080
USER 10001:10001
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["pawprint", "healthcheck"]
# The server listens on all interfaces, so PAWPRINT_API_TOKEN (or PAWPRINT_ALLOW_ANONYMOUS=true) is
# required.
ENTRYPOINT ["pawprint"]
CMD ["serve"]

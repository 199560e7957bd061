# Pawprint's image: the tree that `make dist` lays down, on a slim Debian. Every step is a make
# target, so each can be tried without a container engine.
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

# libtorch: fetched again only if its pin or the flavour changes.
FROM tools AS libtorch
ARG CUDA=0
COPY Makefile ./
COPY scripts/libtorch scripts/libtorch-requirements*.txt scripts/
RUN PIP_NO_CACHE_DIR=1 make libtorch CUDA=${CUDA}

# The dependencies: built again only if the manifest changes, around a program that does nothing.
FROM libtorch AS dependencies
COPY Cargo.toml Cargo.lock build.rs ./
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
# What is fetched (pretrained weights, on demand) comes over TLS.
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
# It listens to the world here, so it wants PAWPRINT_API_TOKEN (or PAWPRINT_ALLOW_ANONYMOUS=true).
ENTRYPOINT ["pawprint"]
CMD ["serve"]

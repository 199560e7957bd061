# Pawprint's image: the install tree of `make dist`, and of Debian only the libraries that it needs.
#
#   docker build --tag pawprint .                          for the CPU
#   docker build --build-arg CUDA=1 --tag pawprint:cuda .  with the CUDA libraries
#
# Each stage copies only what it needs, so that a change of the source builds neither libtorch nor the
# dependencies again. BASE is Debian with a C++ compiler and Rust; `scripts/docker-base` makes one where
# no registry can be reached.

ARG BASE=rust:1.95-bookworm

FROM ${BASE} AS tools
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# The base of the image: without a shell and a package manager. Scanners find the packages in
# /var/lib/dpkg/status.d.
FROM ${BASE} AS root
WORKDIR /packages
COPY docker/root ./
RUN ./root /root-of-image libc6 libgcc-s1 gcc-12-base libstdc++6 base-files ca-certificates

# libtorch and the base weights: downloaded again only if their pinned versions or CUDA change.
FROM tools AS libtorch
ARG CUDA=0
COPY scripts/libtorch scripts/libtorch-requirements*.txt scripts/
RUN PIP_NO_CACHE_DIR=1 CUDA=${CUDA} scripts/libtorch
COPY scripts/base-weights scripts/base-weights-requirements.txt scripts/
RUN PIP_NO_CACHE_DIR=1 scripts/base-weights
COPY scripts/openvino scripts/openvino-requirements.txt scripts/
RUN PIP_NO_CACHE_DIR=1 scripts/openvino

# The dependencies, built with an empty program: built again only if the manifest changes. The licences in
# the install tree are looked up with `cargo metadata`, which also needs the sources of what only tests use.
FROM libtorch AS dependencies
COPY Cargo.toml Cargo.lock build.rs ./
COPY build build
COPY .cargo .cargo
RUN mkdir src benches \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && sed -n '/^\[\[bench/,/^name/s/^name = "\(.*\)"/benches\/\1.rs/p' Cargo.toml | xargs -n 1 cp src/main.rs \
    && cargo fetch --locked --target "$(rustc -vV | sed -n 's/^host: //p')" \
    && cargo build --release --locked \
    && cargo clean --release --package pawprint \
    && rm -r src benches

FROM dependencies AS build
COPY . .
RUN make dist && rm -r target

FROM scratch
COPY --from=root /root-of-image /
COPY --from=root --chown=10001:10001 /var/empty /data
COPY --from=build /build/dist/lib /opt/pawprint/lib
COPY --from=build /build/dist/licenses /opt/pawprint/licenses
COPY --from=build /build/dist/bin /opt/pawprint/bin

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Pawprint" \
      org.opencontainers.image.description="Train, evaluate and serve image classifiers over HTTP" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

ENV PATH=/opt/pawprint/bin \
    PAWPRINT_DATA_DIR=/data \
    PAWPRINT_LISTEN=0.0.0.0:8080
USER 10001:10001
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["pawprint", "healthcheck", "--ready"]
# The server listens on all interfaces, so that it requires a token (PAWPRINT_API_TOKEN_FILE or
# PAWPRINT_API_TOKEN) or PAWPRINT_ALLOW_ANONYMOUS=true.
ENTRYPOINT ["pawprint"]
CMD ["serve"]

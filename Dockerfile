# One image per binary, chosen by target:
#
#     docker build --target orchestrator --tag checkout/orchestrator .
#
# Targets: orchestrator, inventory, payment, order, console, checkoutctl.

# All binaries come from one build, so that each dependency is compiled once.
# The Rust version is that of rust-toolchain.toml; the Debian release is that of
# the runtime stage below, for the same C library.
FROM rust:1.95.0-slim-bookworm AS build

# librdkafka is compiled from source by its own configure and make, and needs a
# C and a C++ compiler. zlib and zstd are compiled in, so that the binaries
# need nothing but the C library.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends busybox-static g++ make \
    && rm -rf /var/lib/apt/lists/*

# The image's own toolchain, without the components that only development needs.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .

# Crates and compiled dependencies stay in BuildKit's cache from one build to
# the next; what is to be kept is copied out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked \
        --package orchestrator --package inventory --package payment --package order \
        --package checkoutctl --package console \
    && install -D --target-directory=/out \
        target/release/orchestrator target/release/inventory target/release/payment \
        target/release/order target/release/checkoutctl target/release/console


# Debian's slim image has the C library and a shell, but nothing that speaks
# HTTP. One static busybox (2 MB) is the probe of the health checks; curl would
# bring a dozen libraries with it. Its wget gets no -T, which crashes Debian's
# build of it: the health check's own time-out bounds it.
FROM debian:12.12-slim AS runtime
COPY --from=build /bin/busybox /usr/local/bin/busybox
# Certificate authorities, for a payment gateway or a collector behind TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/debian:12.12-slim"
# A number, not a name: Kubernetes' runAsNonRoot can check it.
USER 10001:10001


FROM runtime AS console
LABEL org.opencontainers.image.title="console" \
      org.opencontainers.image.description="Shows operators the checkouts in a browser, and lets them act"
COPY --from=build /out/console /usr/local/bin/console
ENV HTTP_LISTEN=0.0.0.0:8090
EXPOSE 8090
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --start-interval=1s \
    CMD ["busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8090/readyz"]
ENTRYPOINT ["console"]


FROM runtime AS orchestrator
LABEL org.opencontainers.image.title="orchestrator" \
      org.opencontainers.image.description="Drives the checkout saga: commands out, replies in, outcomes published"
COPY --from=build /out/orchestrator /usr/local/bin/orchestrator
ENV HTTP_LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --start-interval=1s \
    CMD ["busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/readyz"]
ENTRYPOINT ["orchestrator"]


FROM runtime AS inventory
LABEL org.opencontainers.image.title="inventory" \
      org.opencontainers.image.description="Reserves and releases stock for checkouts"
COPY --from=build /out/inventory /usr/local/bin/inventory
ENV HTTP_LISTEN=0.0.0.0:8081
EXPOSE 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --start-interval=1s \
    CMD ["busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8081/readyz"]
ENTRYPOINT ["inventory"]


FROM runtime AS payment
LABEL org.opencontainers.image.title="payment" \
      org.opencontainers.image.description="Authorizes and voids payments through a gateway"
COPY --from=build /out/payment /usr/local/bin/payment
ENV HTTP_LISTEN=0.0.0.0:8082
EXPOSE 8082
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --start-interval=1s \
    CMD ["busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8082/readyz"]
ENTRYPOINT ["payment"]


FROM runtime AS order
LABEL org.opencontainers.image.title="order" \
      org.opencontainers.image.description="Records and cancels orders"
COPY --from=build /out/order /usr/local/bin/order
ENV HTTP_LISTEN=0.0.0.0:8083
EXPOSE 8083
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --start-interval=1s \
    CMD ["busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8083/readyz"]
ENTRYPOINT ["order"]


# Runs to its end, so it has no health check.
FROM runtime AS checkoutctl
LABEL org.opencontainers.image.title="checkoutctl" \
      org.opencontainers.image.description="Operates the checkout saga: topics, schemas, stock"
COPY --from=build /out/checkoutctl /usr/local/bin/checkoutctl
ENTRYPOINT ["checkoutctl"]

# The image of factord: two binaries, their libraries, a user without rights.
#
#   docker build -t factord .          # or tools/build_image.sh, which also runs it
#   docker run --rm -p 127.0.0.1:7070:7070 -v factord:/var/lib/factord \
#     -e FACTORD_ALLOW_PLAINTEXT=true -e FACTORD_ALLOW_ANONYMOUS=true factord
#
# As it is, the image refuses to start: it listens on all addresses, which takes a certificate and tokens
# (FACTORD_TLS_CERT_FILE, FACTORD_TLS_KEY_FILE, FACTORD_TOKEN_FILE; see deploy/compose.yaml) or, for this
# machine alone as above, both of these switches.
# It needs no capability and no writable file but the volume:
#
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges ...

FROM debian:bookworm-slim AS builder
WORKDIR /src
# First and alone: the packages are installed again only when the list of them changes.
COPY tools/install_deps.sh tools/
RUN tools/install_deps.sh
COPY . .
RUN tools/build.sh --target factord factorctl \
 && strip --strip-debug build/release/server/factord build/release/factorctl/factorctl

FROM debian:bookworm-slim
# What the binaries link (tests/deploy/image_test.py compares), not what they are built with.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      libabsl20220623 libfmt9 libgrpc++1.51 libgrpc29 libprometheus-cpp-pull1.0 \
      libprotobuf32 librocksdb7.8 libspdlog1.10 libssl3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log \
 && groupadd --system --gid 10001 factord \
 && useradd --system --uid 10001 --gid factord --home-dir /nonexistent --no-create-home \
      --shell /usr/sbin/nologin factord \
 && install -d -o factord -g factord -m 0750 /var/lib/factord
COPY --from=builder /src/build/release/server/factord /src/build/release/factorctl/factorctl /usr/local/bin/
COPY LICENSE /usr/share/doc/factord/

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="factord" \
      org.opencontainers.image.description="Online recommendation service over gRPC with an embedded store" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

# Folders below the volume: its own root may hold lost+found, and a backup links files of the data
# folder, so both lie on one file system.
ENV FACTORD_DATA_DIR=/var/lib/factord/data \
    FACTORD_BACKUP_DIR=/var/lib/factord/backups \
    FACTORD_LISTEN=0.0.0.0:7070 \
    FACTORD_METRICS_LISTEN=0.0.0.0:7071 \
    FACTORD_HEALTH_LISTEN=0.0.0.0:7072 \
    FACTORD_LOG_FORMAT=json

# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
VOLUME /var/lib/factord
EXPOSE 7070 7071 7072
STOPSIGNAL SIGTERM
# On the health port, which is plain whatever the API speaks. Reads: they go on when writes cannot.
# Recovery counts as starting for ten minutes.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m --retries=3 \
  CMD ["factorctl", "health", "--server=127.0.0.1:7072", "--service=factord.v1.RecommendationService"]
ENTRYPOINT ["factord"]

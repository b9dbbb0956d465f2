# The License Client as an image without an operating system: one static
# program, run as an unprivileged user, with a root file system that can be read-only.
#
#   docker build -t vms-license-client:standalone .
#   docker build -t license-server --target license-server .
#
# Persistent data is in the volume /data.

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# Static, so that the image needs no other files.
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN cargo build --release --locked --target "$(rustc -vV | sed -n 's/^host: //p')" \
        -p license-client -p license-server \
    && mkdir -p /out/data /out/trusted \
    && cp target/*/release/license-client target/*/release/license-server /out/

FROM scratch AS license-server
COPY --from=build /out/license-server /license-server
COPY --from=build --chown=10001:10001 /out/data /data
COPY --from=build --chown=10001:10001 /out/trusted /trusted
ENV HOST=0.0.0.0 PORT=4000 STATE_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 4000
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s \
    CMD ["/license-server", "health"]
ENTRYPOINT ["/license-server"]
CMD ["serve"]

FROM scratch AS license-client
COPY --from=build /out/license-client /license-client
COPY --from=build --chown=10001:10001 /out/data /data
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# Sibling containers may make changes. The container host and callers from the customer's network
# need the token: container engines forward both from the gateway's address, which 'attached' leaves
# out ('gateway' adds it). With the host's network, macvlan or pasta, set TRUSTED_NETWORKS=loopback.
ENV HOST=0.0.0.0 PORT=8000 STATE_DIR=/data TRUSTED_NETWORKS=loopback,attached
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s \
    CMD ["/license-client", "health"]
ENTRYPOINT ["/license-client"]
CMD ["serve"]

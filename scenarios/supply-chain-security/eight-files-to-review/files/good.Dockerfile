# syntax=docker/dockerfile:1
FROM golang:1.24 AS build
# The compiler may be root; nothing of this stage is shipped but the program.
USER root
WORKDIR /src
COPY . .
RUN --mount=type=secret,id=token go build -o /out/{{ good_d }} .

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/{{ good_d }} /{{ good_d }}
USER 65532
EXPOSE 8080
ENTRYPOINT ["/{{ good_d }}"]

FROM gcc:14.2 AS build
WORKDIR /src
COPY include ./include
COPY main.c ./
RUN gcc -static -O2 -Iinclude -o /app/{{ app }} main.c

FROM alpine:latest
COPY --from=build /app/{{ app }} /app/{{ app }}
USER 65532
EXPOSE {{ port }}
CMD ["/app/{{ app }}", "--listen", ":{{ port }}"]

FROM gcc:14.2 AS build
WORKDIR /src
ADD https://downloads.example.net/{{ lib }}-1.4.tar.gz ./
RUN tar -xzf {{ lib }}-1.4.tar.gz
COPY main.c ./
RUN gcc -static -O2 -Iinclude -o /app/{{ app }} main.c

FROM scratch
COPY --from=build /app/{{ app }} /app/{{ app }}
USER 65532
EXPOSE {{ port }}
CMD ["/app/{{ app }}", "--listen", ":{{ port }}"]

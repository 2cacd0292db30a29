FROM ubuntu:24.04
RUN apt-get update && apt-get install -y gcc libc6-dev curl openssh-server vim
ADD https://downloads.example.net/{{ lib }}-1.4.tar.gz /usr/src/
WORKDIR /src
COPY . .
RUN tar -C /usr/include -xzf /usr/src/{{ lib }}-1.4.tar.gz
RUN gcc -static -O2 -o /app/{{ app }} main.c
RUN rm -f {{ secret }} && apt-get remove -y gcc
USER 10001
EXPOSE {{ port }}
CMD ["/app/{{ app }}", "--listen", ":{{ port }}"]

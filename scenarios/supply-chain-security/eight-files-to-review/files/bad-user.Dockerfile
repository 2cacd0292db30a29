FROM python:latest
WORKDIR /app
COPY requirements.txt ./
RUN useradd --uid 10001 app
USER 10001
COPY --chown=10001 {{ bad_user }}.py ./
USER root
RUN pip install --no-cache-dir -r requirements.txt
EXPOSE {{ port }}
CMD ["python3", "/app/{{ bad_user }}.py"]

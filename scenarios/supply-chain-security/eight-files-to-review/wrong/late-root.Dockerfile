FROM python:3.13-slim
WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt && useradd --uid 10001 app
COPY --chown=10001 {{ bad_user }}.py ./
USER 10001
USER root
EXPOSE {{ port }}
CMD ["python3", "/app/{{ bad_user }}.py"]

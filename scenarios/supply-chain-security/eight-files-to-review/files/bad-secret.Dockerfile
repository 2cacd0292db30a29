FROM node:22.9-slim
WORKDIR /app
COPY package.json package-lock.json ./
RUN echo "//registry.corp.test/:_authToken={{ token }}" > .npmrc
RUN npm ci --omit=dev
# No token in the image.
RUN rm .npmrc
COPY src ./src
USER 1000
EXPOSE 3000
CMD ["node", "src/index.js"]

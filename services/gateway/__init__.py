"""The gateway of a site: an HTTP API as OpenAI's, and NATS; composition.py opens it."""

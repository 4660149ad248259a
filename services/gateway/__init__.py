"""The gateway of a site: HTTP as OpenAI speaks it, and NATS; composition.py opens it."""

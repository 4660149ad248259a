"""Where a server of the OpenAI API is, and how to speak to it. Next: services/stages/settings.py builds on it."""

from __future__ import annotations

import msgspec

from tidegate.brokers.settings import Seconds


class OpenAICompatibleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server with a completions or chat completions API."""

    base_url: str = ""
    """Address of the server's API, with its version: `https://llm.example/v1`. Read by `completions` and `openai`."""
    model: str = ""
    """The model's name at that server; for `embedded` and `vllm` a Hugging Face directory of the Llama, Qwen, Gemma or
    SmolLM family, which `make lm` builds one of. Empty: the shipped one."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the server's API key; the key itself is never a setting."""
    timeout_s: Seconds = 20.0
    """How long the cloud may take for an answer before the request is tried again."""

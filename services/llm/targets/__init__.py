"""Target models behind one interface: embedded, vLLM, or an OpenAI-compatible server."""

"""The HTTP side of the gateway: server, routes, OpenAI API, event streams, WebSocket, page."""

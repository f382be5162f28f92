"""The OpenAI-compatible front door: HTTP in, a router's public API out. A process of its own."""

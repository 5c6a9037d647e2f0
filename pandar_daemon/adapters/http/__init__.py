"""The HTTP API, by aiohttp."""

"""Todo Service: a multi-user todo backend on aiohttp and PostgreSQL."""

__version__ = "0.1.0"

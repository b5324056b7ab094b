"""The HTTP server, its graceful shutdown and gunicorn workers."""

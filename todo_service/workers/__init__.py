"""Several processes behind one listener: gunicorn's arbiter starts, watches and replaces aiohttp's gunicorn workers."""

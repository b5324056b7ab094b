"""The description of the API, OpenAPI 3.1, made of the rows of the routes and of the wire models."""

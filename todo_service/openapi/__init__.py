"""The description of the API, OpenAPI 3.1, generated from the rows of the routes and the wire models."""

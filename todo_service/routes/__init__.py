"""The endpoints: one row each, and their handlers."""

"""The operator's commands: one module for each script of the same name in `bin/`."""

"""What an operator can run: each module is one command, started by the script of the same name in `bin/`."""

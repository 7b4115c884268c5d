"""What the command line does, one command a file; `iapo.cli` chooses. Training is in `iapo.training`."""

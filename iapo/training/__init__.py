"""The reference loop, and what a run leaves behind: checkpoints and a report."""

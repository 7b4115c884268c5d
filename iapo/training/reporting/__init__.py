"""What a run tells: of its progress while it lasts, by its metrics, and in its report."""

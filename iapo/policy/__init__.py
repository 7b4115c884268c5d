"""What handles a language model: loading, forward passes, log-probabilities."""

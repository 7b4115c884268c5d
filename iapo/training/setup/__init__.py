"""What comes before the first update: problems, policy, style of completions, run folder."""

"""From the plan of a comparison to finished runs."""

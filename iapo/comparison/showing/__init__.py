"""From finished runs to the report and the page of a comparison."""

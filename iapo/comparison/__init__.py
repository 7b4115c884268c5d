"""Methods by seeds from one YAML file: tuned on some problems and seeds, reported on others, shown on one page."""

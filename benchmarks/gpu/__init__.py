"""Everything that needs a GPU, in parts: `python -m benchmarks.gpu`, or `make gpu`. See docs/gpu.md."""

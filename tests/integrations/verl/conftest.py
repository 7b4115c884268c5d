"""What processes of verl import, and nothing that has tests."""

collect_ignore = ["verl_cpu.py", "verl_dump.py", "verl_hf_rollout.py"]

"""The stand-in registers a device for a whole process: pytest must not import it, nor what runs on it, in its own."""

collect_ignore = ["stand_in.py", "on_stand_in.py"]

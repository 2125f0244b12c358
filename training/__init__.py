"""Training except data and loop: losses, schedule, state, logs."""

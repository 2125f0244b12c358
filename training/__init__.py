"""Training, apart from data and the loop itself: losses, schedule, state, logs."""

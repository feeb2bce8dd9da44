"""A subscriber that only a drill runs: it counts what happens to each user, so that an effect too many or too few shows."""

"""From connectivity to the clinic: statistics of people's scores, on arrays alone."""

"""From connectivity to the clinic: what a change of connectivity has to do with symptoms."""

"""From connectivity to the clinic: outcomes, associations, mediation, prediction, reliability."""

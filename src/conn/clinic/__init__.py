"""From connectivity to the clinic: scales and outcomes, responders, what else the drug does.

Modules here take numbers and arrays and give frozen results; they read no file and no image.
"""

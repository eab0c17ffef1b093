"""From BIDS and fMRIPrep derivatives to a treatment effect on connectivity.

The package is ``conn``, the distribution is ``trialconn``. It is not the CONN toolbox.
"""

__version__ = "0.1.0"

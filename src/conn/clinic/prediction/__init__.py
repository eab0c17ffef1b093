"""Could the baseline scan have told who would respond?"""

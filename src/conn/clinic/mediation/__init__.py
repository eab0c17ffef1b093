"""Whether a change of connectivity carries the effect of treatment on symptoms.

Two regressions per feature: M1 ~ arm + M0 and Y1 ~ M1 + arm + M0 + Y0, where M is connectivity and Y the
scale of symptoms, before (0) and after (1) treatment. The effect through M is a·b.
"""

"""Regions of interest: where they come from, and which voxels they are."""

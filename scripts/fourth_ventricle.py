"""Where the fourth ventricle is on the template that nilearn ships, for the registry of regions.

The template is ICBM 152 non-linear 2009a symmetric (10.1016/j.neuroimage.2010.07.033) with its maps of grey
and white matter. Fluid is what is brain and neither; the ventricle is the largest piece of it behind the
pons. Prints its centre and how much of some spheres is fluid.

    python scripts/fourth_ventricle.py
"""

import numpy as np
from nilearn import datasets
from scipy import ndimage

BEHIND_PONS = ((-12, 12), (-52, -34), (-44, -20))
SPHERES = (((0, -45, -30), 3), ((0, -45, -33), 3))


def fluid() -> tuple[np.ndarray, np.ndarray]:
    """Mask of fluid of shape (x, y, z), and its affine."""
    grey = datasets.load_mni152_gm_template(resolution=1)
    white = datasets.load_mni152_wm_template(resolution=1)
    brain = datasets.load_mni152_brain_mask(resolution=1)
    tissue = np.asarray(grey.dataobj) + np.asarray(white.dataobj)
    return (np.asarray(brain.dataobj) > 0) & (tissue < 0.5), brain.affine


def main() -> None:
    mask, affine = fluid()
    mm = np.stack(np.indices(mask.shape), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    box = np.all(
        [(mm[..., i] >= low) & (mm[..., i] <= high) for i, (low, high) in enumerate(BEHIND_PONS)], axis=0
    )
    pieces, n = ndimage.label(mask & box)
    sizes = ndimage.sum_labels(mask, pieces, range(1, n + 1))
    largest = pieces == 1 + int(np.argmax(sizes))
    print(f"largest piece: {largest.sum()} mm3, centre {mm[largest].mean(axis=0).round(1)}")
    for z in range(-44, -19, 3):
        at = largest & (mm[..., 2] == z)
        if at.any():
            print(f"  z = {z}: {at.sum()} mm2, centre {mm[at].mean(axis=0).round(1)}")
    for center, radius in SPHERES:
        inside = ((mm - center) ** 2).sum(axis=-1) <= radius**2
        print(f"sphere {radius} mm at {center}: {mask[inside].mean():.0%} fluid")


if __name__ == "__main__":
    main()

"""The laboratory: a real block layer, measured again and held against what is kept and emulated."""

from stuntdouble.lab.curves import Commit, Curve, Setup, stored_curves
from stuntdouble.lab.model import closed_form, emulated, relative_rms, thick_disk

__all__ = [
    "Commit",
    "Curve",
    "Setup",
    "closed_form",
    "emulated",
    "relative_rms",
    "stored_curves",
    "thick_disk",
]

"""Drag all embeddings of a batch along the first component, choose a temperature: the loss, and where it falls."""

import functools
from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
import torch

from course_utils import gates
from course_utils.teaching.explorers.page import live
from course_utils.teaching.explorers.widget import Explorer
from course_utils.teaching.figures.causes import landscape
from course_utils.teaching.figures.picture import image
from course_utils.training.loop import info_nce
from course_utils.training.losses import cosine, slope_along


class LandscapeView:
    """One batch of pairs seen along one direction.

    Args:
        anchors, positives: embeddings ``[n, d]``; row i of one belongs to row i of the other.
        direction: unit length, ``[d]``.
        shifts: where the loss is drawn, in units of the embedding.

    Raises:
        ValueError: matrices of different shape, or NaN.
    """

    def __init__(self, anchors: np.ndarray, positives: np.ndarray, direction: np.ndarray, shifts: Sequence[float]):
        sides = [
            gates.matrix(rows, name, dtype=np.float64)
            for rows, name in ((anchors, "anchors"), (positives, "positives"))
        ]
        if sides[0].shape != sides[1].shape:
            raise ValueError(f"anchors {sides[0].shape} and positives {sides[1].shape} must have one shape")
        self.anchors, self.positives = map(torch.from_numpy, sides)
        self.u, self.shifts = torch.from_numpy(np.asarray(direction, dtype=np.float64)), np.asarray(shifts)

    def moved(self, shift: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Both sides after a step of this length along the direction."""
        return self.anchors + shift * self.u, self.positives + shift * self.u

    @functools.cache  # noqa: B019 - a view lives as long as its notebook
    def losses(self, temperature: float) -> np.ndarray:
        """InfoNCE at every shift."""
        return np.array([float(info_nce(*self.moved(s), None, temperature)) for s in self.shifts])

    def page(self, shift: float, temperature: float) -> str:
        """The loss over the shift and its slope at ``shift``; HTML."""
        anchors, positives = self.moved(shift)
        slope = float(slope_along(anchors, positives, self.u, temperature))
        cosines = cosine(anchors, positives)
        losses = self.losses(temperature)
        best = self.shifts[losses.argmin()]
        title = (
            f"τ = {temperature:g}: the loss is smallest at a shift of {best:.0f}; "
            f"at {shift:.0f} it {'rises' if slope > 0 else 'falls'} along $u_1$"
        )
        said = (
            f"<p>cosines of right pairs {cosines.diagonal().mean():.2f}, of all pairs {cosines.mean():.2f}; "
            f"slope {slope:+.4f} nats for each unit along u_1</p>"
        )
        return image(landscape(self.shifts, losses, shift, slope, title)) + said


def landscape_explorer(
    view: LandscapeView, shift: float, temperature: float, temperatures: Sequence[float]
) -> Explorer:
    """A shift to drag and a temperature to choose; shows :meth:`LandscapeView.page`."""
    low, high = float(view.shifts.min()), float(view.shifts.max())
    slider = widgets.FloatSlider(
        value=shift, min=low, max=high, step=1, description="shift", readout_format=".0f", layout={"width": "60%"}
    )
    choice = widgets.SelectionSlider(
        options=[(f"{tau:g}", tau) for tau in temperatures], value=temperature, description="τ"
    )
    return Explorer([slider, choice, live(view.page, slider, choice)])

"""Pictures of the first component: where texts lie, what a step along it does, which layers and steps it moves in."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from course_utils.measures.evaluation import bootstrap
from course_utils.measures.interventions import BothWays, claim, global_difference
from course_utils.teaching.figures.style import PALETTE, REFERENCE, distinct, draw_intervals, head, look, styled
from course_utils.teaching.figures.tables import Table, table
from course_utils.teaching.figures.tokens import name_tokens

FIRST, REST = PALETTE[0], PALETTE[1]


#: One colour and mark for each state of an embedding, in every figure of the lesson.
STATES = {
    "untrained": (PALETTE[7], "o"),
    "untrained + v_1 u_1": (PALETTE[0], "D"),
    "embedder": (PALETTE[2], "s"),
    "embedder − v_1 u_1": (PALETTE[1], "X"),
}


@styled
def cloud(points: Mapping[str, np.ndarray], title: str) -> Figure:
    """Where texts lie: along ``u_1`` and across it (left), and how their coefficients ``h·u_1`` are spread (right).

    Args:
        points: for each state, named as in :data:`STATES`, coefficients along u_1 and along a direction at right
            angles to it, ``[n, 2]``.
        title: the finding.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    edges = np.histogram_bin_edges(np.concatenate([p[:, 0] for p in points.values()]), bins=40)
    for name, where in points.items():
        color, marker = STATES[name]
        left.plot(*where.T, marker, markersize=3, alpha=0.5, linestyle="", color=color, label=name)
        right.hist(where[:, 0], edges, alpha=0.55, color=color, label=name)
    left.plot(0, 0, "k+", markersize=12, markeredgewidth=2, label="zero")
    left.set(xlabel="along u_1: h·u_1 (length)", ylabel="across u_1 (length)")
    right.set(xlabel="h·u_1 (length)", ylabel="texts")
    right.axvline(0, color="black", linewidth=1)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    head(figure, title)
    return figure


def steps(found: Mapping[str, BothWays]) -> Table:
    """Both steps of every embedder beside their controls, with the verdict of :func:`claim`; a table.

    Differences are paired by text. The random steps are given by their range and by how many go at least as far.
    """
    rows = []
    for name, both in found.items():
        for (start, before), step in zip(both.start.items(), list(STATES)[1::2], strict=True):
            after, random, verdict = (
                both.stepped[start],
                both.controls[start]["random"].mean(axis=1),
                claim(both, start),
            )
            drawn = f"{random.min():.2f} to {random.max():.2f}"
            lar = f"{before.lar_excess.mean():.2f} → {after.lar_excess.mean():.2f}"
            as_far = f"{verdict.random * len(random):.0f} of {len(random)}"
            controls = [both.control(start, kind).mean() for kind in ("u_2", "c_1")]
            hit, rate = (bootstrap(getattr(after, m) - getattr(before, m)) for m in ("hit_excess", "lar_excess"))
            hits = (before.hit_excess.mean(), after.hit_excess.mean(), hit, drawn, *controls)
            rows.append((name, step, *hits, lar, rate, global_difference(after, before), as_far, verdict.answer))
    columns = ["embedder", "step", "before", "after", "difference", "random steps", "u_2", "c_1", "LAR",
               "LAR: difference", "GAR: difference", "random as far", "verdict"]  # fmt: skip
    return table(rows, columns, "content Hit@10 minus chance; LAR minus chance; difference of GAR")


def state_rows(found: Mapping[str, BothWays], groups: Mapping[str, str]) -> pd.DataFrame:
    """What :func:`both_ways` draws: each of the four states of every embedder with its interval.

    Args:
        found: by embedder.
        groups: the untrained model of each embedder.
    """
    rows = []
    for name, both in found.items():
        in_order = [judged for start in both.start for judged in (both.start[start], both.stepped[start])]
        for state, judged in zip(STATES, in_order, strict=True):
            rows.append((groups[name], name, state, *vars(bootstrap(judged.hit_excess)).values()))
    return pd.DataFrame(rows, columns=["group", "embedder", "state", "value", "low", "high"])


@styled
def both_ways(states: pd.DataFrame, title: str) -> Figure:
    """Alignment above chance of untrained model and embedder, and of both after the step; grouped by untrained model.

    Args:
        states: columns ``group`` (the untrained model), ``embedder``, ``state`` as in :data:`STATES`, ``value``,
            ``low``, ``high``.
        title: the finding.

    Raises:
        ValueError: a missing column, or no rows.
    """
    groups, embedders = distinct(states, "group", "embedder")
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.55 * (len(embedders) + len(groups))))
    row, rows = 0.0, {}
    for group in groups:
        label = axes.text(0.0, row, f"from {group}", transform=axes.get_yaxis_transform(), weight="bold", va="center")
        label.set(zorder=5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # above the line of chance
        for embedder in dict.fromkeys(states["embedder"][states["group"] == group]):
            rows[embedder] = row = row + 1
        row += 1
    for number, (name, (color, marker)) in enumerate(STATES.items()):
        own = states[states["state"] == name]
        places = np.array([rows[e] for e in own["embedder"]]) + (0.14 if number >= 2 else -0.14)
        draw_intervals(axes, own, places, color=color, marker=marker, label=name)
    for embedder, place in rows.items():
        value = states[states["embedder"] == embedder].set_index("state")["value"]
        for start, end, side in (("untrained", "untrained + v_1 u_1", -0.14), ("embedder", "embedder − v_1 u_1", 0.14)):
            axes.annotate(
                "", (value[end], place + side), (value[start], place + side),
                arrowprops={"arrowstyle": "->", "color": STATES[end][0], "linewidth": 1.4},
            )  # fmt: skip
    axes.axvline(0, color=REFERENCE, linestyle="--", linewidth=1.5, label="chance")
    axes.set_yticks(list(rows.values()), list(rows))
    axes.set(ylim=(row - 0.5, -0.6), xlim=(-0.05, 1.02), xlabel="content Hit@10 minus chance")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    head(figure, title)
    return figure


@styled
def contributions(panels: Mapping[str, tuple[Sequence[str], np.ndarray, np.ndarray]], title: str) -> Figure:
    """What the first component and the rest give to the top tokens, one panel per model.

    Args:
        panels: for each model its tokens (best first), the part of the first component and the part of the
            rest, each ``[k]``, both measured from their mean over the vocabulary.
    """
    k = max(len(tokens) for tokens, _, _ in panels.values())
    figure, grid = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 1.6 + 0.33 * k), squeeze=False)
    for axes, (name, (tokens, along, rest)) in zip(grid[0], panels.items(), strict=True):
        rows = np.arange(len(tokens))
        axes.barh(rows - 0.2, along, height=0.38, color=FIRST, label="first component")
        axes.barh(rows + 0.2, rest, height=0.38, color=REST, hatch="//", edgecolor="white", label="the rest")
        axes.plot(along + rest, rows, "kD", markersize=5, label="sum: decides the rank")
        name_tokens(axes, tokens)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(name, fontsize=10.5)
        axes.set_xlabel("logit above the vocabulary's mean")
    grid[0, 0].set_ylabel("aligned token, best first")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    head(figure, title)
    return figure


@styled
def sweep(
    amounts: np.ndarray, panels: Mapping[str, Mapping[str, np.ndarray]], marks: Mapping[str, float], title: str
) -> Figure:
    """Measures as functions of λ, one panel each, with the v_1 of embedders as vertical lines.

    Args:
        amounts: the values of λ, ``[m]``.
        panels: panel label -> line label -> values ``[m]``; a line called ``"chance"`` is drawn as such.
        marks: ``v_1`` by the name of the embedder, at most four.
        title: the finding.
    """
    figure, grid = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 3.7), sharex=True, squeeze=False)
    styles = ["--", ":", "-.", (0, (6, 1, 1, 1, 1, 1))]
    for axes, (label, lines) in zip(grid[0], panels.items(), strict=True):
        for i, (name, values) in enumerate(lines.items()):
            chance = name == "chance"
            how = {"color": REFERENCE, "linestyle": "--"} if chance else look(i)
            axes.plot(amounts, np.asarray(values), markersize=4, label=name, **how)
        for place, style in zip(marks.values(), styles, strict=False):
            axes.axvline(place, color=PALETTE[3], linestyle=style)
        axes.set_title(label, fontsize=10.5)
        axes.set(xlabel="λ (length; 0 = untrained)", ylim=(0, None))
    handles, labels = grid[0, 0].get_legend_handles_labels()
    for (name, place), style in zip(marks.items(), styles, strict=False):
        handles.append(Line2D([], [], color=PALETTE[3], linestyle=style))
        labels.append(f"v_1 = {place:.1f} of {name}")
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))
    head(figure, title)
    return figure


@styled
def layers(share: Mapping[str, np.ndarray], movement: np.ndarray, first_part: np.ndarray, title: str) -> Figure:
    """Layer by layer: share of the first component (left); how far training moved, in all and along u_1 (right)."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.9))
    for i, (name, values) in enumerate(share.items()):
        left.plot(100 * values, markersize=4, label=name, **look(i))
    left.set(xlabel="layer", ylabel="squared norm in the first component (%)", ylim=(0, 103))
    left.legend()
    right.plot(movement, marker="s", markersize=4, color=REST, label="whole movement")
    right.plot(first_part, marker="D", markersize=4, color=FIRST, label="part along the first component")
    right.set(xlabel="layer", ylabel="length moved, relative to |h|", ylim=(0, None))
    right.legend()
    head(figure, title)
    return figure


@styled
def training(logs: Mapping[str, Sequence[Mapping[str, float]]], title: str) -> Figure:
    """v_1 and the largest other |v_j| during training, one panel per embedder, from the rows of its log."""
    columns = min(3, len(logs))
    rows = -(-len(logs) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(3.8 * columns, 0.9 + 2.5 * rows), squeeze=False)
    for axes, (name, log) in zip(grid.flat, logs.items(), strict=False):
        steps = [row["step"] for row in log]
        axes.plot(steps, [abs(row["v_1"]) for row in log], marker="D", markersize=4, color=FIRST, label="|v_1|")
        other = [row["max_other_v"] for row in log]
        axes.plot(steps, other, marker="o", markersize=4, color=REST, label="largest other |v_j|")
        axes.set_xscale("symlog", linthresh=1)
        ticks = [t for t in (0, 1, 4, 15, 40, 160, 640) if t <= steps[-1]]
        axes.set_xticks(ticks, [str(t) for t in ticks])
        axes.minorticks_off()
        axes.set_title(name, fontsize=10.5)
        axes.set(xlabel="training step (logarithmic)", ylabel="length")
    for axes in list(grid.flat)[len(logs) :]:
        axes.set_axis_off()
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    head(figure, title)
    return figure

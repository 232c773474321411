"""Choose a collection, a model, K and workers: what it takes, and how each figure is known."""

import html

import ipywidgets as widgets

from course_utils.search.scale import architectures, costs
from course_utils.search.scale.costs import PRICES, Plan, Prices, readable_bytes, readable_seconds
from course_utils.teaching.explorers.page import live
from course_utils.teaching.explorers.widget import Explorer

#: Models to choose from: the backbone whose numbers count, by what the reader sees.
MODELS = {"135 M (SmolLM2)": "smollm2", "1.3 B (OPT)": "facebook/opt-1.3b", "7 B (LLaMA)": "llama-7b"}
SIZES = tuple(10**i for i in range(3, 10))


def plan_html(measured: dict, documents: int, model: str, k: int, workers: int, prices: Prices = PRICES) -> str:
    """What a collection takes to encode, to keep and to ask, as a table; HTML.

    Args:
        measured: what :func:`course_utils.search.scale.measured.stored` returns.
        documents: how many, each of 100 tokens.
        model: one of :data:`MODELS`.
        k: aligned tokens kept of each.
        workers: of one core each.
        prices: of computing and keeping.

    Raises:
        ValueError: an unknown model, or numbers that are no plan.
    """
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}; got {model!r}")
    shape = architectures.of(MODELS[model])
    a = costs.account(Plan(documents, k=k, workers=workers), shape, costs.rate(measured, shape), prices)
    months = f"{a.month_cost:,.2f} a month, at {prices.ram_gb_month:g} a GB of their memory"
    rows = [
        ("encode and decode, on the clock", readable_seconds(a.elapsed_seconds), f"extrapolated; rate: {a.known}"),
        ("the same, in core hours", f"{a.encode_seconds / 3600:,.0f}", f"extrapolated; rate: {a.known}"),
        ("the same, in dollars", f"{a.build_cost:,.2f}", f"at {prices.core_hour:g} a core hour ({prices.noted})"),
        ("dense index", readable_bytes(a.dense_bytes), "4 bytes · d, exact"),
        ("sparse index", readable_bytes(a.sparse_bytes), "8 bytes · K, exact; at most"),
        ("machines with 64 GB that keep it", f"{a.machines}", months),
        ("merges while sorting the postings", f"{a.merges}", "8 GB to sort with, 16 runs at a time"),
    ]
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    head = "<tr><th>what</th><th>how much</th><th>how it is known</th></tr>"
    caption = (
        f"<caption>{documents:,} documents of 100 tokens, {html.escape(model)}, K = {k}, workers: {workers}</caption>"
    )
    return f"<table>{caption}{head}{body}</table>"


def plan_explorer(measured: dict, documents: int, model: str, k: int, workers: int) -> Explorer:
    """Four controls; shows :func:`plan_html`."""
    wide = {"layout": {"width": "60%"}, "style": {"description_width": "initial"}}
    controls = (
        widgets.SelectionSlider(
            options=[(f"{n:,}", n) for n in SIZES], value=documents, description="Documents", **wide
        ),
        widgets.Dropdown(options=list(MODELS), value=model, description="Model", **wide),
        widgets.SelectionSlider(options=[32, 64, 128, 256, 512, 1000], value=k, description="K", **wide),
        widgets.SelectionSlider(options=[1, 2, 8, 64, 512], value=workers, description="Workers", **wide),
    )
    return Explorer([*controls, live(lambda *values: plan_html(measured, *values), *controls)])

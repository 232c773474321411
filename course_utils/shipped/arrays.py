"""Numbers that ship with the course: read them, ask whether they are current, make them.

Encoding thousands of texts takes minutes, and a lesson would spend them waiting. So the numbers lie in
``data/arrays/KIND/NAME.safetensors``; the kinds are in :data:`~course_utils.shipped.kinds.KINDS`. They are made by

    several-tokens arrays                                   # what is missing or stale
    several-tokens arrays --kind sentences smol-eol         # one embedder again

and a lesson that uses them encodes a few texts afresh and compares.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from course_utils.models import registry
from course_utils.models.registry import EmbedderSpec
from course_utils.shipped import files
from course_utils.shipped.kinds import KINDS, arithmetic, named

#: Folder of all files.
ARRAYS = Path(__file__).resolve().parents[2] / "data" / "arrays"


def load(kind: str, name: str):
    """The shipped numbers of one kind and embedder, in the form that :data:`~course_utils.shipped.kinds.KINDS` says.

    Raises:
        FileNotFoundError: there are none; the message lists the embedders that have some.
        ValueError: no such kind, or numbers made from other texts than today's.
    """
    path = _path(kind, name)
    if not path.exists():
        raise FileNotFoundError(
            f"no shipped {kind} for {name!r}; there are: {', '.join(have(kind)) or 'none'}. {_remedy(kind, name)}"
        )
    made_from = files.made_from(path)
    if not named(kind).texts(registry.get(name)).items() <= made_from.items():
        raise ValueError(f"{path.name} of the kind {kind} was made from other texts. {_remedy(kind, name)}")
    return named(kind).view(files.read(path))


def get(kind: str, embedder):
    """The shipped numbers of an embedder where they are current, otherwise computed now (a minute or two)."""
    chosen = named(kind)
    if is_current(kind, embedder.spec):
        return chosen.view(files.read(_path(kind, embedder.spec.name)))
    return chosen.view(chosen.encode(embedder, print))


def have(kind: str) -> list[str]:
    """Names of the embedders whose numbers are there."""
    return [name for name in named(kind).names if _path(kind, name).exists()]


def source(kind: str, spec: EmbedderSpec) -> dict[str, str]:
    """What the numbers depend on, as checksums: texts, how they are read, backbone, adapters."""
    texts = named(kind).texts(spec)
    return {"embedder": spec.name, **texts, "reading": files.reading(spec), **files.weights(spec)}


def is_current(kind: str, embedder: str | EmbedderSpec) -> bool:
    """Whether there are numbers, made from today's texts, backbone and adapters, in whichever arithmetic."""
    spec = registry.get(embedder) if isinstance(embedder, str) else embedder
    path = _path(kind, spec.name)
    if spec.backbone not in registry.STORED or not path.exists():
        return False
    return files.made_from(path) | {"dtype": ""} == source(kind, spec) | {"dtype": ""}


def missing_or_stale(kinds: Iterable[str] | None = None) -> list[tuple[str, str]]:
    """``(kind, name)`` of what does not ship or is not current; of all kinds by default."""
    return [(kind, name) for kind in kinds or KINDS for name in named(kind).names if not is_current(kind, name)]


def make(kind: str, name: str, backbone, report: Callable[[str], None] = print) -> None:
    """Encode what the kind holds with one embedder and write the file, atomically."""
    from course_utils.models.embedder import load as load_embedder

    embedder = load_embedder(name, backbone=backbone)
    tensors = named(kind).encode(embedder, report)
    files.write(_path(kind, name), tensors, source(kind, embedder.spec) | {"dtype": arithmetic(backbone)})
    report(f"{name}: written to {kind}/{name}.safetensors")


def make_stale(
    kinds: Iterable[str] | None = None,
    names: Iterable[str] = (),
    dtype: str = "float32",
    report: Callable[[str], None] = print,
) -> None:
    """Make what is missing or stale, or the named embedders again; one language model in memory at a time.

    Args:
        kinds: which kinds; all by default.
        names: the embedders to make again, in every chosen kind that has them; none: what is missing or stale.
        dtype: ``"float32"``, or ``"bfloat16"`` for rough numbers in a fraction of the time.
        report: called with a line about progress, and for what cannot be made because its adapter is not here.

    Raises:
        ValueError: no such kind, or a name that none of the kinds has.
    """
    kinds, names = list(kinds or KINDS), list(names)
    todo = _named_again(kinds, names) if names else missing_or_stale(kinds)
    by_backbone: dict[str, list[tuple[str, str]]] = {}
    for kind, name in todo:
        if missing := registry.get(name).missing_adapters():
            report(f"{name}: left out of {kind}; train its adapter first, with several-tokens train {missing[0]}")
        else:
            by_backbone.setdefault(registry.get(name).backbone, []).append((kind, name))
    for backbone, group in by_backbone.items():
        _make_group(backbone, group, dtype, report)


def _named_again(kinds: Sequence[str], names: Sequence[str]) -> list[tuple[str, str]]:
    for name in names:
        if not any(name in named(kind).names for kind in kinds):
            known = ", ".join(dict.fromkeys(n for kind in kinds for n in named(kind).names))
            raise ValueError(f"no numbers of {name!r} ship in {', '.join(kinds)}; those of these do: {known}")
    return [(kind, name) for kind in kinds for name in names if name in named(kind).names]


def _make_group(source: str, group: Sequence[tuple[str, str]], dtype: str, report: Callable[[str], None]) -> None:
    """A function of its own, so that one language model has left the memory before the next one is loaded."""
    from course_utils.models.backbone import Backbone

    backbone = Backbone(source, dtype=dtype)
    for kind, name in group:
        make(kind, name, backbone, report)


def _path(kind: str, name: str) -> Path:
    named(kind)  # refuses a kind that there is not
    return ARRAYS / kind / f"{name}.safetensors"


def _remedy(kind: str, name: str) -> str:
    return f"To make them, run several-tokens arrays --kind {kind} {name}"

"""Where artifacts come from: what they share of options, versions and inputs, and whether an input has changed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from tta_pipeline.io import hdf5

_MOST_VALUES = 3


def provenance(artifacts: Iterable[hdf5.Origin]) -> list[dict[str, object]]:
    """Options, version and fingerprints of inputs, each with the number of artifacts of a kind that share it."""
    found: dict[str, Counter[str]] = {}
    for origin in artifacts:
        found.setdefault(f"{origin.kind}: version", Counter())[origin.version] += 1
        found.setdefault(f"{origin.kind}: options", Counter())[origin.options] += 1
        for name, fingerprint in origin.inputs.items():
            found.setdefault(f"{origin.kind}: {name}", Counter())[fingerprint] += 1
    rows: list[dict[str, object]] = []
    for what, values in sorted(found.items()):
        if len(values) <= _MOST_VALUES:
            rows += [{"what": what, "artifacts": count, "value": value} for value, count in values.items()]
        else:
            rows.append({"what": what, "artifacts": values.total(), "value": f"{len(values)} different files"})
    return rows


def stale_inputs(artifacts: Iterable[hdf5.Origin], given: Mapping[str, Path]) -> list[str]:
    """Sentences on artifacts that were made from another state of the `given` files (input name -> path)."""
    now = {name: hdf5.fingerprint(path) for name, path in given.items()}
    stale = Counter(
        (origin.kind, name)
        for origin in artifacts
        for name, fingerprint in now.items()
        if origin.inputs.get(name, fingerprint) != fingerprint
    )
    return [
        f"{count} artifacts of the {kind} stage were made from another {given[name].name} than this report: "
        f"run snakemake --forcerun {kind}."
        for (kind, name), count in sorted(stale.items())
    ]

"""Writes what is generated from the config models: the JSON schema and the tables of config/README.md."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from tta_pipeline import config
from tta_pipeline.model_sections import ARCHITECTURES, Tabular
from tta_pipeline.section import Section

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.json"
README = ROOT / "config" / "README.md"
BEGIN, END = "<!-- tables: begin (make schema) -->", "<!-- tables: end -->"


def schema_text() -> str:
    """The JSON schema of a study's config as it stands in workflow/schemas/."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | config.Study.model_json_schema()
    schema["properties"]["models"]["patternProperties"] = dict.fromkeys(
        schema["properties"]["models"]["patternProperties"], _schema_of_models()
    )
    return json.dumps(schema | _covariates_are_named(), indent=2, sort_keys=True) + "\n"


def _covariates_are_named() -> dict[str, Any]:
    """Without clinical covariates, no model that reads them: the schema is all that is looked at before jobs run.

    A schema has no message of its own; what is refused is shown, hence the description of it.
    """
    named = {"inputs": {"required": ["covariates"], "properties": {"covariates": {"minItems": 1}}}}
    reading = [name for name, one in ARCHITECTURES.items() if issubclass(one, Tabular) and one.needs_covariates]
    refused = {
        "enum": reading,
        "description": "reads clinical covariates: name columns of the clinical table in inputs.covariates",
    }
    models = {"additionalProperties": {"properties": {"architecture": {"not": refused}}}}
    return {"if": {"properties": named}, "else": {"properties": {"models": models}}}


def _schema_of_models() -> dict[str, Any]:
    """One schema by the architecture that an entry names.

    Snakemake fills in the defaults of every branch of a `oneOf`; of an `if` with its `then` only those that apply.
    """
    branches: list[dict[str, Any]] = []
    for name, section in ARCHITECTURES.items():
        named: dict[str, Any] = {"properties": {"architecture": {"const": name}}}
        if section.model_fields["architecture"].is_required():
            named["required"] = ["architecture"]
        branches.append({"if": named, "then": {"$ref": f"#/$defs/{section.__name__}"}})
    keys = sorted(set(config.Train.model_fields) - config.SHARED_BY_MODELS)
    known = {"properties": {"architecture": {"enum": list(ARCHITECTURES)}, "train": {"propertyNames": {"enum": keys}}}}
    return {"type": "object", **known, "allOf": branches}


def readme_text(current: str) -> str:
    """The text of config/README.md with its tables made anew."""
    before, rest = current.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


def tables() -> str:
    """One Markdown table per section: key, type, default, meaning with its limits."""
    return "\n".join(line for name, section in _sections() for line in _table(name, section))


def _sections() -> Iterator[tuple[str, type[Section]]]:
    for name, field in config.Study.model_fields.items():
        if isinstance(field.annotation, type) and get_origin(field.annotation) is None:
            yield name, field.annotation
    for name, section in ARCHITECTURES.items():
        yield f"models.NAME ({name})", section


def _table(name: str, section: type[Section]) -> Iterator[str]:
    yield f"### `{name}`\n\n{(section.__doc__ or '').strip()}\n"
    yield "| key | type | default | meaning |\n|---|---|---|---|"
    for key, field in section.model_fields.items():
        default = "required" if field.is_required() else f"`{json.dumps(field.get_default(), default=str)}`"
        yield f"| `{key}` | {_type(field.annotation)} | {default} | {field.description or ''}{_limits(field)} |"
    yield ""


def _type(annotation: Any) -> str:
    if annotation is type(None):
        return "null"
    if get_origin(annotation) in {Union, UnionType}:
        return " or ".join(map(_type, get_args(annotation)))
    arguments = [argument for argument in get_args(annotation) if argument is not ...]
    if get_origin(annotation) in {tuple, dict}:
        return f"list of {_type(arguments[0])}" if get_origin(annotation) is tuple else "mapping"
    if arguments and not isinstance(annotation, type) and all(isinstance(argument, str) for argument in arguments):
        return " / ".join(f"`{argument}`" for argument in arguments)
    if arguments:
        return _type(arguments[0])
    return "mapping" if issubclass(annotation, Section) else str(annotation.__name__).lower()


def _limits(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [f"{sign} {getattr(m, name)}" for m in field.metadata for name, sign in signs.items() if hasattr(m, name)]
    return f" ({', '.join(limits)})" if limits else ""


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    README.write_text(readme_text(README.read_text(encoding="utf-8")), encoding="utf-8")

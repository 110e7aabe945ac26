"""The published JSON schema of ``result.json``."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from stuntdouble.results.model import Result
from stuntdouble.results.text import to_text


class _Untitled(GenerateJsonSchema):
    """Leave out titles that only repeat the field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def result_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a result, with a description for each field."""
    generated = Result.model_json_schema(mode="serialization", schema_generator=_Untitled)
    return {"$schema": GenerateJsonSchema.schema_dialect, **generated}


def schema_text() -> str:
    """Return the schema as it is committed beside the model."""
    return to_text(result_schema()) + "\n"


def published_schema() -> str:
    """Return the committed text of ``result.schema.json``."""
    return files("stuntdouble.results").joinpath("result.schema.json").read_text("utf-8")

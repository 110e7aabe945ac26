"""The page that shows the interface, in a browser without a network.

Swagger UI's own files come from the package ``fastapi-offline``, where it is installed; otherwise
the page is written from the OpenAPI document here, with nothing to load.
"""

from __future__ import annotations

from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi import FastAPI

FILES: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{font:14px/1.4 ui-monospace,monospace}pre{overflow:auto;padding:.5rem;"
    "background:#8881}details{border-top:1px solid #8884;padding:.4rem 0}"
    "summary{cursor:pointer}summary b{display:inline-block;min-width:4.5rem}"
    ":root{color-scheme:light dark}"
)


def swagger_files() -> Path | None:
    """Return the directory with Swagger UI's files, or None where they are not installed."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "static"
    return folder if all((folder / name).is_file() for name in FILES) else None


def add_page(app: FastAPI, prefix: str, files: Path | None) -> None:
    """Serve the page at ``prefix/docs``: Swagger UI from *files*, or a plain one without them."""

    async def plain() -> HTMLResponse:
        return HTMLResponse(rendered(app.openapi()))

    async def swagger() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=f"{prefix}/openapi.json",
            title=app.title,
            swagger_js_url=f"{prefix}/docs/swagger-ui-bundle.js",
            swagger_css_url=f"{prefix}/docs/swagger-ui.css",
            swagger_favicon_url=f"{prefix}/docs/favicon.png",
        )

    page = plain if files is None else swagger
    app.add_api_route(f"{prefix}/docs", page, include_in_schema=False)
    if files is not None:
        for name, kind in FILES.items():
            _add_file(app, f"{prefix}/docs/{name}", files / name, kind)


def _add_file(app: FastAPI, url: str, path: Path, kind: str) -> None:
    async def send() -> FileResponse:
        return FileResponse(path, media_type=kind)

    app.add_api_route(url, send, include_in_schema=False)


def rendered(document: Mapping[str, Any]) -> str:
    """Return an OpenAPI document as a page of its own: operations by tag, then the schemas."""
    info = document["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width">',
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{escape(info.get('description', ''))}</p>",
        '<p>The same as a document: <a href="openapi.json">openapi.json</a>.</p>',
    ]
    by_tag: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = operation.get("tags", ["general"])[0]
            by_tag.setdefault(tag, []).append("".join(_operation(path, method, operation)))
    for tag, operations in by_tag.items():
        parts += [f"<h2>{escape(tag)}</h2>", *operations]
    parts.append("<h2>Schemas</h2>")
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        parts += [f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>']
        parts += [*_fields(schema), "</details>"]
    return "\n".join([*parts, "</html>"])


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code></summary>"
    yield f"<p>{escape(operation.get('description', operation.get('summary', '')))}</p>"
    for parameter in operation.get("parameters", []):
        what = f"{parameter['in']}{', required' if parameter.get('required') else ''}"
        yield f"<p><code>{escape(parameter['name'])}</code> ({what}): "
        yield f"{_type(parameter['schema'])} {escape(parameter.get('description', ''))}</p>"
    body = operation.get("requestBody", {}).get("content", {})
    for content in body.values():
        yield f"<p>Body: {_type(content['schema'])}</p>"
    for status, response in operation["responses"].items():
        kinds = [_type(content["schema"]) for content in response.get("content", {}).values()]
        yield f"<p>{status}: {escape(response['description'])} {', '.join(kinds)}</p>"
    yield "</details>"


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"<p>{escape(schema.get('description', ''))}</p>"
    for name, field in schema.get("properties", {}).items():
        needed = " (required)" if name in schema.get("required", []) else ""
        yield f"<p><code>{escape(name)}</code>{needed}: {_type(field)} "
        yield f"{escape(field.get('description', ''))}</p>"
    for example in schema.get("examples", []):
        yield f"<pre>{escape(repr(example))}</pre>"


def _type(schema: Mapping[str, Any]) -> str:
    """Return a schema in a few words, with a link to the one that it names."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "enum" in schema:
        return " | ".join(f"<code>{escape(repr(value))}</code>" for value in schema["enum"])
    return f"<i>{escape(str(schema.get('type', 'anything')))}</i>"

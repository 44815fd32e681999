"""GET /docs: one page about the API, from the route table. No scripts, nothing from elsewhere, one style of its own."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from html import escape
from typing import TYPE_CHECKING

from aiohttp import web

import relay
from relay.api import answers
from relay.api.routing import Scope

if TYPE_CHECKING:
    from relay.api.call import Call

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.35rem .75rem .35rem 0;border-bottom:1px solid #8884}
code,pre{font:14px/1.5 ui-monospace,monospace}
pre{padding:1rem;background:#8882;overflow:auto}
""".strip()
_EXAMPLE = """curl -sS http://127.0.0.1:4000/v1/jobs \\
  -H "Authorization: Bearer $RELAY_TOKEN" -H "Content-Type: application/json" \\
  -d '{"payload": {"command": "echo", "args": ["hello"]}}'"""


async def get_page(call: Call) -> web.Response:
    """Answer the page."""
    call.no_query()
    style = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
    headers = {**answers.HEADERS, "Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy}
    return web.Response(body=_page(), headers=headers)


@cache
def _page() -> bytes:
    from relay.api.table import ROUTES  # noqa: PLC0415 - the table has this module's handler in it

    rows = "".join(
        f"<tr><td><code>{route.method}</code><td><code>{escape(route.path)}</code>"
        f"<td>{'none' if route.scope is Scope.NONE else route.scope.name.lower()}"
        f"<td>{escape(route.summary)}{_parameters(route.query)}"
        for route in ROUTES
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Relay API</title>
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>
<h1>Relay {escape(relay.__version__)}: the API</h1>
<p>JSON in and out. Send <code>Authorization: Bearer TOKEN</code>; make a token with <code>relay token create</code>.
The whole contract, with schemas: <a href="/openapi.json"><code>/openapi.json</code></a>.</p>
<pre>{escape(_EXAMPLE)}</pre>
<table><thead><tr><th>Method<th>Path<th>Scope<th>What it does</thead><tbody>{rows}</tbody></table>
<p>Errors are <code>application/problem+json</code> (RFC 9457) with a stable <code>code</code>, and <code>errors</code>
with paths where a spec is not valid. 429 and 503 carry <code>Retry-After</code>.</p></html>
""".encode()


def _parameters(names: tuple[str, ...]) -> str:
    return "".join(f" <code>{escape(name)}</code>" for name in names)

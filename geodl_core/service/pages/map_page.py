"""A page that shows one raster on a map: a single document that loads nothing but tiles of this server."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.responses import HTMLResponse, Response

STYLE = """
:root { color-scheme: light dark; --ground: #eee; --sheet: #fffd; --text: #222 }
@media (prefers-color-scheme: dark) { :root { --ground: #1a1f1d; --sheet: #232a28ee; --text: #e4e9e6 } }
html, body { margin: 0; height: 100%; font: 14px system-ui, sans-serif; color: var(--text) }
#map { position: absolute; inset: 0; overflow: hidden; background: var(--ground); cursor: grab; touch-action: none }
#map:focus-visible { outline: 2px solid #1f6f78; outline-offset: -2px }
#map img { position: absolute; image-rendering: pixelated; user-select: none }
aside { position: absolute; top: 10px; right: 10px; max-width: min(18rem, calc(100% - 44px));
  max-height: calc(100% - 40px); overflow: auto; background: var(--sheet); padding: 8px 12px; border-radius: 4px;
  box-shadow: 0 1px 4px #0004 }
h1 { font-size: 15px; margin: 0 0 6px; overflow-wrap: anywhere }
li { list-style: none; margin: 2px 0 } ul { margin: 0; padding: 0 }
li span { display: inline-block; width: 14px; height: 14px; margin-right: 6px; vertical-align: -2px;
  border: 1px solid #0003 }
"""
MAP = Path(__file__).with_name("map.js").read_text(encoding="utf-8")
"""How tiles become a map, and classes a legend; the page for people has it too."""
SCRIPT = f"""{MAP}
const facts = JSON.parse(document.getElementById('facts').textContent);
const here = location.pathname.replace(/\\/map$/, '');
document.title = facts.title;
document.querySelector('h1').textContent = facts.title;
drawLegend(document.querySelector('ul'), facts.classes);
fetch(here + '/WebMercatorQuad/tilejson.json?tile_format=png&tilesize=256').then((r) => r.json()).then((found) => {{
  const setTile = (image, z, x, y) => {{
    image.src = `${{here}}/tiles/WebMercatorQuad/${{z}}/${{x}}/${{y}}.png?tilesize=256`;
  }};
  showMap(document.getElementById('map'), {{ bounds: found.bounds, most: found.maxzoom, setTile }});
}});
"""


def map_page(item: Mapping[str, Any], asset: str, classes: Sequence[Mapping[str, Any]]) -> Response:
    """Return the page of an asset, with its classes as a legend."""
    legend = [{"name": _name(one), "color": str(one.get("color_hint", ""))} for one in classes]
    facts = {"title": f"{item.get('id')}: {asset}", "classes": legend}
    # Names come from Items of anybody: in JSON that cannot end the element it stands in, and shown as text.
    text = json.dumps(facts).replace("<", "\\u003c")
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Map</title>
<link rel="icon" href="data:,"><style>{STYLE}</style></head><body>
<div id="map" tabindex="0" role="application" aria-label="Map: arrows move it, plus and minus zoom"></div>
<aside><h1></h1><ul></ul></aside>
<script id="facts" type="application/json">{text}</script><script>{SCRIPT}</script></body></html>"""
    policy = "default-src 'none'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'self'"
    policy += f"; script-src '{_hash(SCRIPT)}'; style-src 'unsafe-inline'"
    return HTMLResponse(page, headers={"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"})


def _name(one: Mapping[str, Any]) -> str:
    return str(one.get("title") or one.get("description") or one.get("name") or one.get("value"))


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

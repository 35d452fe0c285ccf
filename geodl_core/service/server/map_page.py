"""A page that shows one raster on a map: a single document that loads nothing but tiles of this server."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import HTMLResponse, Response

STYLE = """
html, body { margin: 0; height: 100%; font: 14px system-ui, sans-serif; color: #222 }
#map { position: absolute; inset: 0; overflow: hidden; background: #eee; cursor: grab; touch-action: none }
#map img { position: absolute; image-rendering: pixelated; user-select: none }
aside { position: absolute; top: 10px; right: 10px; max-width: 18rem; max-height: calc(100% - 40px); overflow: auto;
  background: #fffd; padding: 8px 12px; border-radius: 4px; box-shadow: 0 1px 4px #0004 }
h1 { font-size: 15px; margin: 0 0 6px; overflow-wrap: anywhere }
li { list-style: none; margin: 2px 0 } ul { margin: 0; padding: 0 }
li span { display: inline-block; width: 14px; height: 14px; margin-right: 6px; vertical-align: -2px;
  border: 1px solid #0003 }
"""
SCRIPT = """
const facts = JSON.parse(document.getElementById('facts').textContent);
const map = document.getElementById('map'), size = 256;
document.title = facts.title;
document.querySelector('h1').textContent = facts.title;
for (const one of facts.classes) {
  const line = document.createElement('li'), box = document.createElement('span');
  if (/^[0-9A-Fa-f]{6}$/.test(one.color)) box.style.background = '#' + one.color;
  line.append(box, one.name);
  document.querySelector('ul').append(line);
}
const here = location.pathname.replace(/\\/map$/, '');
let zoom = 2, centre = [0.5, 0.5], tiles = new Map(), most = 24, template = '';
const mercator = (lon, lat) => {
  const s = Math.sin(Math.max(-85.05, Math.min(85.05, lat)) * Math.PI / 180);
  return [lon / 360 + 0.5, 0.5 - Math.log((1 + s) / (1 - s)) / (4 * Math.PI)];
};
function draw() {
  const level = Math.max(0, Math.min(most, Math.round(zoom))), count = 2 ** level;
  const side = size * 2 ** (zoom - level), width = map.clientWidth, height = map.clientHeight;
  const left = centre[0] * count * side - width / 2, top = centre[1] * count * side - height / 2;
  const seen = new Set();
  for (let x = Math.floor(left / side); x * side < left + width; x++)
    for (let y = Math.max(0, Math.floor(top / side)); y < count && y * side < top + height; y++) {
      const key = level + '/' + x + '/' + y;
      seen.add(key);
      let tile = tiles.get(key);
      if (!tile) {
        tile = new Image();
        tile.draggable = false;
        tile.alt = '';
        tile.onerror = () => { tile.style.display = 'none' };
        tile.src = template.replace('{z}', level).replace('{x}', ((x % count) + count) % count).replace('{y}', y);
        tiles.set(key, tile);
        map.append(tile);
      }
      Object.assign(tile.style, { left: x * side - left + 'px', top: y * side - top + 'px',
        width: side + 'px', height: side + 'px' });
    }
  for (const [key, tile] of tiles) if (!seen.has(key)) { tile.remove(); tiles.delete(key) }
}
function zoomBy(step, x, y) {
  const before = size * 2 ** zoom, dx = x - map.clientWidth / 2, dy = y - map.clientHeight / 2;
  zoom = Math.max(0, Math.min(most + 4, zoom + step));
  const after = size * 2 ** zoom;
  centre = [centre[0] + dx / before - dx / after, centre[1] + dy / before - dy / after];
  draw();
}
let held = null;
map.onpointerdown = (e) => { held = [e.clientX, e.clientY]; map.setPointerCapture(e.pointerId) };
map.onpointerup = () => { held = null };
map.onpointermove = (e) => {
  if (!held) return;
  const scale = size * 2 ** zoom;
  centre = [centre[0] - (e.clientX - held[0]) / scale, centre[1] - (e.clientY - held[1]) / scale];
  held = [e.clientX, e.clientY];
  draw();
};
map.onwheel = (e) => { e.preventDefault(); zoomBy(-e.deltaY / 300, e.clientX, e.clientY) };
map.ondblclick = (e) => zoomBy(1, e.clientX, e.clientY);
onresize = draw;
fetch(here + '/WebMercatorQuad/tilejson.json?tile_format=png&tilesize=256').then((r) => r.json()).then((found) => {
  const a = mercator(found.bounds[0], found.bounds[3]), b = mercator(found.bounds[2], found.bounds[1]);
  centre = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  most = Math.min(24, found.maxzoom);
  const fit = Math.min(map.clientWidth / (b[0] - a[0]), map.clientHeight / (b[1] - a[1]));
  zoom = Math.min(most + 2, Math.log2(fit / size) - 0.1);
  template = here + '/tiles/WebMercatorQuad/{z}/{x}/{y}.png?tilesize=256';
  draw();
});
"""


def map_page(item: Mapping[str, Any], asset: str, classes: Sequence[Mapping[str, Any]]) -> Response:
    """Return the page of an asset, with its classes as a legend."""
    legend = [{"name": _name(one), "color": str(one.get("color_hint", ""))} for one in classes]
    facts = {"title": f"{item.get('id')}: {asset}", "classes": legend}
    # Names come from Items of anybody: in JSON that cannot end the element it stands in, and shown as text.
    text = json.dumps(facts).replace("<", "\\u003c")
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Map</title>
<style>{STYLE}</style></head><body><div id="map"></div><aside><h1></h1><ul></ul></aside>
<script id="facts" type="application/json">{text}</script><script>{SCRIPT}</script></body></html>"""
    policy = "default-src 'none'; img-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'self'"
    policy += f"; script-src '{_hash(SCRIPT)}'; style-src 'unsafe-inline'"
    return HTMLResponse(page, headers={"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"})


def _name(one: Mapping[str, Any]) -> str:
    return str(one.get("title") or one.get("description") or one.get("name") or one.get("value"))


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

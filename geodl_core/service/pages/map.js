// Tiles of one raster on a map that is dragged, pinched, wheeled, or moved by keys. `setTile` gives an image its picture.

function showMap(map, { bounds, most, setTile, dropTile = () => null }) {
  const size = 256, tiles = new Map(), held = new Map(), farthest = Math.min(24, most) + 4;
  const mercator = (lon, lat) => {
    const s = Math.sin(Math.max(-85.05, Math.min(85.05, lat)) * Math.PI / 180);
    return [lon / 360 + 0.5, 0.5 - Math.log((1 + s) / (1 - s)) / (4 * Math.PI)];
  };
  const a = mercator(bounds[0], bounds[3]), b = mercator(bounds[2], bounds[1]);
  const fit = Math.min(map.clientWidth / (b[0] - a[0]), map.clientHeight / (b[1] - a[1]));
  let zoom = Math.min(most + 2, Math.log2(fit / size) - 0.1), centre = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  function draw() {
    const level = Math.max(0, Math.min(most, 24, Math.round(zoom))), count = 2 ** level;
    const side = size * 2 ** (zoom - level), width = map.clientWidth, height = map.clientHeight;
    const left = centre[0] * count * side - width / 2, top = centre[1] * count * side - height / 2;
    const seen = new Set();
    // Beside the raster there is nothing to ask for.
    const from = [Math.max(left / side, a[0] * count), Math.max(top / side, a[1] * count)].map(Math.floor);
    const to = [Math.min((left + width) / side, b[0] * count), Math.min((top + height) / side, b[1] * count)];
    for (let x = from[0]; x < to[0]; x++)
      for (let y = Math.max(0, from[1]); y < Math.min(count, to[1]); y++) {
        const key = level + '/' + x + '/' + y;
        seen.add(key);
        let tile = tiles.get(key);
        if (!tile) {
          tile = new Image();
          tile.draggable = false;
          tile.alt = '';
          tile.onerror = () => { tile.style.display = 'none'; };
          setTile(tile, level, ((x % count) + count) % count, y);
          tiles.set(key, tile);
          map.append(tile);
        }
        Object.assign(tile.style, { left: x * side - left + 'px', top: y * side - top + 'px',
          width: side + 'px', height: side + 'px' });
      }
    for (const [key, tile] of tiles) if (!seen.has(key)) { tile.remove(); dropTile(tile); tiles.delete(key); }
  }
  function zoomBy(step, x = map.clientWidth / 2, y = map.clientHeight / 2) {
    const before = size * 2 ** zoom, dx = x - map.clientWidth / 2, dy = y - map.clientHeight / 2;
    zoom = Math.max(0, Math.min(farthest, zoom + step));
    const after = size * 2 ** zoom;
    centre = [centre[0] + dx / before - dx / after, centre[1] + dy / before - dy / after];
    draw();
  }
  function moveBy(dx, dy) {
    const scale = size * 2 ** zoom;
    centre = [centre[0] - dx / scale, centre[1] - dy / scale];
    draw();
  }
  const place = (event) => { const box = map.getBoundingClientRect(); return [event.clientX - box.x, event.clientY - box.y]; };
  map.onpointerdown = (event) => { held.set(event.pointerId, place(event)); map.setPointerCapture(event.pointerId); };
  map.onpointerup = map.onpointercancel = (event) => held.delete(event.pointerId);
  map.onpointermove = (event) => {
    const before = held.get(event.pointerId), here = place(event);
    if (!before) return;
    held.set(event.pointerId, here);
    moveBy((here[0] - before[0]) / held.size, (here[1] - before[1]) / held.size);
    const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
    const apart = (point) => Math.max(1, Math.hypot(point[0] - other[0], point[1] - other[1]));
    if (other) zoomBy(Math.log2(apart(here) / apart(before)), (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
  };
  map.onwheel = (event) => { event.preventDefault(); zoomBy(-event.deltaY / 300, ...place(event)); };
  map.ondblclick = (event) => zoomBy(1, ...place(event));
  map.onkeydown = (event) => {
    const step = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) moveBy(...step);
    else if (event.key === '+' || event.key === '=') zoomBy(0.5);
    else if (event.key === '-') zoomBy(-0.5);
    else return;
    event.preventDefault();
  };
  addEventListener('resize', draw);
  draw();
  return () => {
    removeEventListener('resize', draw);
    for (const tile of tiles.values()) { tile.remove(); dropTile(tile); }
    tiles.clear();
  };
}

function drawLegend(list, classes) {
  list.replaceChildren(...classes.map((one) => {
    const line = document.createElement('li'), box = document.createElement('span');
    if (/^[0-9A-Fa-f]{6}$/.test(one.color)) box.style.background = '#' + one.color;
    line.append(box, one.name);
    return line;
  }));
}

// What is known, as words and numbers: pure functions, which the tests run by themselves.

const FINAL = ['succeeded', 'failed', 'invalid', 'cancelled'];
const GROUPS = [
  { key: 'all', title: 'All', states: [] },
  { key: 'queued', title: 'Queued', states: ['queued'] },
  { key: 'running', title: 'Running', states: ['claimed', 'running'] },
  { key: 'succeeded', title: 'Succeeded', states: ['succeeded'] },
  { key: 'failed', title: 'Failed', states: ['failed', 'invalid'] },
  { key: 'cancelled', title: 'Cancelled', states: ['cancelled'] },
];
const isFinal = (state) => FINAL.includes(state);
const mayRetry = (state) => ['failed', 'invalid', 'cancelled'].includes(state);

function span(seconds) {
  if (!Number.isFinite(seconds)) return '';
  const s = Math.max(0, seconds);
  if (s < 9.95) return (s < 0.05 ? '0' : s.toFixed(1)) + ' s';
  if (s < 59.5) return Math.round(s) + ' s';
  const minutes = Math.round(s / 60);
  if (minutes < 60) return minutes + ' min';
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return hours + ' h' + (minutes % 60 ? ' ' + (minutes % 60) + ' min' : '');
  return Math.round(hours / 24) + ' d';
}

const seconds = (time) => typeof time === 'number' ? time : time ? Date.parse(time) / 1000 : NaN;

function ago(time, now) {
  const s = now - seconds(time);
  if (!Number.isFinite(s)) return '';
  if (s < -1.5) return 'in ' + span(-s);
  return s < 5 ? 'just now' : (s < 59.5 ? Math.round(s) + ' s' : span(s)) + ' ago';
}

function firstLine(text, most = 300) {
  const line = String(text ?? '').split(/[\r\n\u2028\u2029]/, 1)[0].trim();
  return line.length > most ? line.slice(0, most - 1) + '…' : line;
}

const count = (number) => Math.round(number).toLocaleString('en');

function several(number, one, many = one + 's') {
  return count(number) + ' ' + (number === 1 ? one : many);
}

// A path below the page; null where a part would lead elsewhere: browsers resolve dots, encoded ones too.
function address(...parts) {
  const texts = parts.map(String);
  if (texts.some((part) => part === '' || part === '.' || part === '..')) return null;
  return texts.map(encodeURIComponent).join('/');
}

function modelOf(text) {
  const [name, version] = String(text ?? '').split('@');
  return { name, version: (version ?? '').slice(0, 12) };
}

// A job of the API as a line of the list. `about` is geodl's own part.
function runFacts(job) {
  const about = job.geodl;
  const item = about.item ?? {};
  const error = about.error ? { kind: about.error.class, text: about.error.message, hint: about.error.hint } : null;
  return {
    id: about.id, short: about.id.slice(0, 8), state: about.state, attempt: about.attempt,
    item: item.id ?? '', collection: item.collection ?? '', model: modelOf(about.model), watch: about.watch,
    done: about.tiles_done, tiles: about.tiles, created: about.created, started: about.started,
    finished: about.finished, result: about.result, error, about,
  };
}

const share = (run) => run.state === 'succeeded' ? 1 : run.tiles ? Math.min(0.99, run.done / run.tiles) : 0;

function pace(run, now) {
  if (run.state === 'queued') return run.attempt > 1 ? 'attempt ' + run.attempt : '';
  if (isFinal(run.state)) {
    const took = seconds(run.finished) - seconds(run.started);
    return Number.isFinite(took) ? (run.state === 'succeeded' ? 'took ' : 'after ') + span(took) : '';
  }
  if (!run.tiles) return 'being planned';
  const gone = now - seconds(run.started);
  const left = run.done > 0 ? gone * (run.tiles - run.done) / run.done : NaN;
  const tiles = count(run.done) + ' of ' + several(run.tiles, 'tile');
  return run.done >= run.tiles ? tiles + ', being written'
    : gone > 20 && run.done > 1 ? tiles + ', ' + span(left) + ' left' : tiles;
}

// Server-sent events (HTML Standard, 9.2.6) out of a text; `rest` is what has not ended yet.
function readEvents(text) {
  const blocks = text.split(/\r\n\r\n|\n\n|\r\r/);
  const rest = blocks.pop();
  const events = [];
  for (const block of blocks) {
    const event = { kind: 'message', data: [], id: null };
    for (const line of block.split(/\r\n|\n|\r/)) {
      const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
      if (name === 'event') event.kind = value;
      if (name === 'data') event.data.push(value);
      if (name === 'id') event.id = value;
    }
    if (event.data.length) events.push({ ...event, data: event.data.join('\n') });
  }
  return { events, rest };
}

// The text format of Prometheus: name, labels, value of each line.
function readNumbers(text) {
  const found = [];
  for (const line of text.split('\n')) {
    const match = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, name, value] of (match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
      labels[name] = value.replace(/\\(.)/g, (_, c) => c === 'n' ? '\n' : c);
    found.push({ name: match[1], labels, value: Number(match[3]) });
  }
  return found;
}

function sumOf(numbers, name, wanted = {}) {
  return numbers
    .filter((one) => one.name === name && Object.entries(wanted).every(([key, value]) => one.labels[key] === value))
    .reduce((sum, one) => sum + one.value, 0);
}

function boundsOf(geometry) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  const walk = (part) => {
    if (!Array.isArray(part)) return;
    if (typeof part[0] === 'number') {
      box[0] = Math.min(box[0], part[0]); box[1] = Math.min(box[1], part[1]);
      box[2] = Math.max(box[2], part[0]); box[3] = Math.max(box[3], part[1]);
    } else part.forEach(walk);
  };
  const inside = (shape) => {
    walk(shape?.coordinates);
    for (const one of shape?.geometries ?? shape?.features ?? []) inside(one);
    if (shape?.geometry) inside(shape.geometry);
  };
  inside(geometry);
  return Number.isFinite(box[0]) && Number.isFinite(box[1]) ? box : null;
}

function degrees(box) {
  const [w, s, e, n] = box.map((value) => value.toFixed(2));
  return w + ', ' + s + ' to ' + e + ', ' + n;
}

// What a watch looks at, as [label, words].
function watchWords(document) {
  const lines = [['Items of', document.collections?.length ? document.collections.join(', ') : 'any collection']];
  const box = document.aoi ? boundsOf(document.aoi) : null;
  if (document.aoi)
    lines.push(['within', (box ? degrees(box) : 'an area') + (document.clip === false ? ' (whole scenes)' : '')]);
  if (document.filter)
    lines.push(['where', typeof document.filter === 'string' ? document.filter : JSON.stringify(document.filter)]);
  if (document.schedule) lines.push(['scans', scheduleWords(document.schedule)]);
  if (document.source?.api) lines.push(['of', document.source.api]);
  if (document.max_runs_per_day) lines.push(['at most', several(document.max_runs_per_day, 'run') + ' a day']);
  return lines;
}

function scheduleWords(schedule) {
  if (schedule.cron) return schedule.cron + ' (' + (schedule.timezone ?? 'UTC') + ')';
  const match = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/.exec(String(schedule.every));
  if (!match) return 'every ' + schedule.every;
  const [days, hours, minutes, rest] = match.slice(1).map((part) => Number(part ?? 0));
  return 'every ' + span(((days * 24 + hours) * 60 + minutes) * 60 + rest);
}

// The asset of an Item that is looked at: its classification, else a picture that the server can show as tiles.
function assetOf(item) {
  const rasters = Object.entries(item?.assets ?? {}).filter(([, asset]) => /^image\/tiff\b/.test(asset?.type ?? ''));
  const roles = (asset) => Array.isArray(asset.roles) ? asset.roles : [];
  const best = rasters.find(([, asset]) => roles(asset).includes('classification'))
    ?? rasters.find(([, asset]) => roles(asset).includes('data'));
  return best ? best[0] : null;
}

function resultWords(item) {
  const about = item?.properties ?? {};
  const objects = about['geodl:detections'];
  return typeof objects === 'number' ? several(objects, 'object')
    : typeof about['geodl:valid_percentage'] === 'number' ? about['geodl:valid_percentage'].toFixed(0) + ' % valid' : '';
}

function classesOf(asset) {
  const classes = asset?.['classification:classes'] ?? asset?.bands?.[0]?.['classification:classes'];
  return (Array.isArray(classes) ? classes : []).filter((one) => one && !one.nodata).map((one) => ({ color: String(one.color_hint ?? ''),
    name: String(one.title || one.description || one.name || one.value) }));
}

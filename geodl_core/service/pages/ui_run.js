// One run: what it is, what happened to it, what its workers said, what came out.

const path = (id, ...more) => ['jobs', encodeURIComponent(id), ...more].join('/');

async function openRun(id) {
  const dialog = at('run');
  if (world.open?.id === id) return;
  world.open = { id, seq: 0, log: 0, lines: [], said: [], item: null };
  for (const name of ['run-facts', 'run-history', 'run-log', 'run-actions', 'run-links']) {
    at(name).replaceChildren();
    at(name).kept = undefined;
  }
  for (const name of ['run-result', 'run-error', 'run-going', 'run-no-log']) show(at(name), false);
  say(at('run-title'), 'Run ' + id.slice(0, 8));
  const known = world.runs.get(id);
  if (known) drawRun(known);
  if (location.hash !== '#run=' + id) history.pushState(null, '', '#run=' + id);
  if (!dialog.open) dialog.showModal();
  dialog.querySelector('.body').scrollTop = 0;
  await freshenRun();
}

function closeRun() {
  world.open = null;
  if (at('run').open) at('run').close();
  if (location.hash.startsWith('#run=')) history.pushState(null, '', location.pathname);
}

// Asked for again while it is open: lines are only added.
async function freshenRun() {
  const open = world.open;
  if (!open || open.isAsking) { if (open) open.isStale = true; return; }
  open.isAsking = true;
  open.isStale = false;
  try {
    const [job, past, log] = await Promise.all([askJson(path(open.id)),
      askJson(path(open.id, 'history') + '?after=' + open.seq), askJson(path(open.id, 'logs') + '?after=' + open.log)]);
    if (world.open !== open) return;
    const run = runFacts(job);
    open.seq = Math.max(open.seq, ...past.events.map((event) => event.seq));
    open.log = Math.max(open.log, ...log.lines.map((line) => line.seq));
    open.lines.push(...past.events);
    open.said.push(...log.lines);
    drawRun(run);
    drawLines();
    await freshenResult(open, run);
  } catch (error) {
    if (world.open === open) tell(error.message, true);
  } finally {
    open.isAsking = false;
  }
  if (open.isStale && world.open === open) freshenRun();
}

function drawRun(run) {
  world.open.run = run;
  setBadge(at('run-state'), run.state);
  say(at('run-title'), run.item || 'Run ' + run.short);
  const isBad = run.error && ['failed', 'invalid'].includes(run.state);
  show(at('run-error'), Boolean(isBad));
  say(at('run-error-kind'), isBad ? run.error.kind : '');
  say(at('run-error-text'), isBad ? run.error.text : '');
  say(at('run-error-hint'), isBad && run.error.hint ? run.error.hint : '');
  drawGoing(run);
  const { about } = run;
  const facts = [['Run', run.id], ['Item', [run.collection, run.item].filter(Boolean).join(' / ')], ['Model', about.model],
    ['Watch', run.watch ?? 'none: it was ordered by hand'], ['Result in', about.result?.collection ?? about.collection ?? ''],
    ['Attempt', String(run.attempt)], ['Priority', String(about.priority)],
    ['Ordered', run.created], ['Started', run.started], ['Ended', run.finished],
    ['Work', run.tiles ? several(run.tiles, 'tile') + ' in ' + several(about.shards, 'shard') : '']];
  keep(at('run-facts'), facts.filter(([, value]) => value), ([name]) => name,
    ([name]) => make('div', {}, make('dt', { text: name }), make('dd', {}, age(null))), (row, [name, value]) => {
      if (['Ordered', 'Started', 'Ended'].includes(name)) setAge(row.lastChild.firstChild, value, stampWords);
      else say(row.lastChild, value);
    });
  say(at('run-options'), JSON.stringify(about.options, null, 2));
  const verbs = !isFinal(run.state) ? ['cancel'] : mayRetry(run.state) ? ['retry', 'rerun'] : ['rerun'];
  keep(at('run-actions'), verbs, (verb) => verb, (verb) => button(
    { cancel: 'Cancel the run', retry: 'Retry', rerun: 'Compute anew' }[verb], () => act(verb, run.id),
    { class: verb === 'retry' ? 'main' : '', title: { cancel: 'Workers stop within seconds; what is there stays.',
      retry: 'Queue it once more, with what is there.', rerun: 'Queue it once more, with nothing of what is there.' }[verb] }),
  () => null);
}

const stampWords = (time, at) => new Date(time * 1000).toLocaleString() + ' (' + ago(time, at) + ')';

function drawGoing(run) {
  const box = at('run-going');
  if (!box.firstChild) box.append(bar(), make('span', { class: 'small' }));
  show(box, !isFinal(run.state));
  setBar(box.firstChild, share(run));
  box.firstChild.dataset.state = run.state;
  say(box.lastChild, run.state === 'queued' ? 'waits for a worker' : pace(run, now()));
}

function drawLines() {
  const open = world.open, log = at('run-log');
  keep(at('run-history'), open.lines, (event) => event.seq, (event) => make('li', {}, clock(event.at),
    badge(event.state), make('span', { text: event.text }),
    event.worker ? make('span', { class: 'small', text: event.worker }) : null), () => null);
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
  keep(log, open.said, (line) => line.seq, (line) => make('li', { 'data-level': String(line.level).toLowerCase() },
    clock(line.at), make('span', { text: line.text })), () => null);
  if (isAtEnd) log.scrollTop = log.scrollHeight;
  show(log, open.said.length > 0);
  show(at('run-no-log'), open.said.length === 0);
}

const clock = (time) => {
  const element = age(time, (moment) => new Date(moment * 1000).toLocaleTimeString());
  return element;
};

async function freshenResult(open, run) {
  const result = run.state === 'succeeded' ? run.result : null;
  const where = result ? address('collections', result.collection, 'items', result.id) : null;
  show(at('run-result'), Boolean(where));
  if (!where || open.from === run.finished) return;
  open.from = run.finished;
  const item = await askJson(where);
  if (world.open !== open) return;
  const way = wayTo(item, 640);
  const link = at('run-map');
  if (way.map) link.href = way.map;
  else link.removeAttribute('href');
  link.title = way.map ? 'Open the map' : '';
  link.onclick = (event) => lookAt(event, item);
  show(link, Boolean(way.picture));
  if (way.picture) { at('run-picture').alt = 'Preview of ' + item.id; setPicture(at('run-picture'), way.picture); }
  say(at('run-result-words'), [item.collection + ' / ' + item.id, resultWords(item)].filter(Boolean).join(' · '));
  const links = [way.map && ['Map', way.map], ['Item', way.document]].filter(Boolean);
  keep(at('run-links'), links, ([name]) => name, ([name, href]) => make('a', { href, text: name, target: '_blank',
    rel: 'noopener noreferrer', on: { click: (event) => name === 'Map' ? lookAt(event, item) : showDocument(event, href) } }),
  () => null);
}

// A page of its own cannot be given the token: then it is shown here.
async function showDocument(event, where) {
  if (!token()) return;
  event.preventDefault();
  try {
    const url = URL.createObjectURL(new Blob([await (await ask(where)).text()], { type: 'text/plain' }));
    open(url, '_blank', 'noopener');
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  } catch (error) { tell(error.message, true); }
}

// The page of a map cannot be given the token either.
async function lookAt(event, item) {
  if (!token()) return;
  event.preventDefault();
  const key = assetOf(item), here = address('collections', item.collection, 'items', item.id, 'assets', key);
  try {
    const found = await askJson(here + '/WebMercatorQuad/tilejson.json?tile_format=png&tilesize=256');
    say(at('map-title'), item.id + ': ' + key);
    drawLegend(at('map-legend'), classesOf(item.assets[key]));
    at('map').showModal();
    const ending = new AbortController();
    const setTile = async (image, z, x, y) => {
      try {
        const answer = await ask(`${here}/tiles/WebMercatorQuad/${z}/${x}/${y}.png?tilesize=256`, { signal: ending.signal });
        const picture = await answer.blob();
        if (image.isConnected) image.src = URL.createObjectURL(picture);
      } catch { image.onerror(); }
    };
    const end = showMap(at('map-tiles'), { bounds: found.bounds, most: found.maxzoom, setTile,
      dropTile: (image) => URL.revokeObjectURL(image.src) });
    at('map-tiles').focus();
    at('map').addEventListener('close', () => { ending.abort(); end(); }, { once: true });
  } catch (error) { tell(error.message, true); }
}

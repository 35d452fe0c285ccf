// What keeps the page up to date, and what its buttons do.

function choose(group) {
  world.group = group;
  startOver();
}

function narrow(watch) {
  world.watch = watch;
  world.group = 'all';
  startOver();
  at('runs').focus({ preventScroll: true });
  at('runs').scrollIntoView({ block: 'nearest' });
}

function startOver() {
  world.limit = 50;
  drawGroups();
  freshen.runs();
}

// Makes of something that asks the server one that is asked now, or once more when it is under way already.
function patiently(work, pauseMs) {
  let isBusy = false, isWanted = false, timer = 0;
  return async function again() {
    if (isBusy || timer) { isWanted = true; return; }
    isBusy = true;
    isWanted = false;
    try {
      await work();
      reached();
    } catch (error) { missed(error); } finally { isBusy = false; }
    timer = setTimeout(() => { timer = 0; if (isWanted) again(); }, typeof pauseMs === 'function' ? pauseMs() : pauseMs);
  };
}

const freshen = {
  runs: patiently(async () => {
    const asked = jobsPath();
    const found = await askJson(asked);
    if (asked !== jobsPath()) { setTimeout(freshen.runs); return; }
    world.runs = new Map(found.jobs.map((job) => [job.geodl.id, runFacts(job)]));
    world.mayHaveMore = found.links.some((one) => one.rel === 'next') && world.limit < 1000;
    drawRuns();
  }, () => 500 + 5 * world.limit),
  numbers: patiently(async () => {
    world.numbers = readNumbers(await (await ask('metrics', { headers: { Accept: 'text/plain' } })).text());
    drawGroups();
    drawQueue();
  }, 1000),
  workers: patiently(async () => drawWorkers((await askJson('workers')).workers), 1000),
  watches: patiently(async () => drawWatches((await askJson('watches')).watches), 2000),
  scans: patiently(async () => drawScans((await askJson('scans?limit=8')).scans), 1000),
  results: patiently(async () => {
    const query = new URLSearchParams({ limit: 12, sortby: '-properties.created', filter: '"geodl:model" IS NOT NULL',
      'filter-lang': 'cql2-text', 'fields': 'id,collection,assets,properties' });
    drawResults((await askJson('search?' + query)).features.filter((item) => item.collection !== 'models'));
  }, 2000),
};

function reached() {
  show(at('trouble'), false);
  world.isRefused = false;
}

function missed(error) {
  if (document.hidden) return;
  if (error.status === 401) {
    refused(token() ? 'The token is not believed: ' + error.message : 'Reading needs a token on this server.');
    return;
  }
  if (!(error instanceof Refused)) console.error(error);
  say(at('trouble'), error instanceof Refused ? error.message : 'This page has a fault: ' + error.message);
  show(at('trouble'), true);
}

// Asked for once; whoever says no finds the button.
function refused(why) {
  say(at('trouble'), why + ' The button “Token” above takes one.');
  show(at('trouble'), true);
  if (!world.isRefused) askForToken(why);
  world.isRefused = true;
}

function askForToken(why = '') {
  say(at('token-why'), why);
  show(at('token-why'), Boolean(why));
  show(at('token-forget'), Boolean(token()));
  at('token-field').value = '';
  if (!at('token').open) at('token').showModal();
}

function useToken(text) {
  if (text) sessionStorage.setItem(TOKEN, text);
  else sessionStorage.removeItem(TOKEN);
  at('token').close();
  forgetPictures();
  drawToken();
  world.isRefused = false;
  restart();
}

const drawToken = () => say(at('token-button'), token() ? 'Token: in use' : 'Token');

async function change(path, method, done) {
  try {
    await ask(path, { method });
    tell(done);
  } catch (error) {
    if (error.status === 401 || error.status === 403) {
      askForToken(error.status === 403 ? 'This needs another token: ' + error.message + '.' : 'Changing something needs a token.');
    } else tell(error.message, true);
  }
}

async function act(verb, id) {
  const said = { cancel: 'Cancelled', retry: 'Queued once more', rerun: 'Queued, to be computed anew' }[verb];
  if (verb === 'cancel') await change(path(id), 'DELETE', said);
  else await change(path(id, verb), 'POST', said);
  freshen.runs();
  freshen.numbers();
  freshenRun();
}

async function pause(name, is) {
  await change('watches/' + encodeURIComponent(name) + (is ? '/pause' : '/resume'), 'POST', is ? 'Paused' : 'Resumed');
  freshen.watches();
}

function onEvent(kind, told) {
  const run = world.runs.get(told.run_id);
  if (kind === 'progress' && run) {
    Object.assign(run, { done: told.tiles_done, tiles: told.tiles });
    const row = at('run-list').kept?.get(run.id);
    if (row) updateRunRow(row, run);
    if (world.open?.id === run.id && world.open.run) drawGoing(Object.assign(world.open.run, { done: run.done, tiles: run.tiles }));
  }
  if (kind !== 'state') return;
  freshen.runs();
  freshen.numbers();
  freshen.workers();
  if (isFinal(told.state)) { freshen.results(); freshen.watches(); }
  if (world.open?.id === told.run_id) freshenRun();
}

let unlisten = () => null;
const timers = [];

function restart() {
  stop();
  if (document.hidden) return;
  const all = Object.values(freshen);
  unlisten = listen('events', { onEvent, onState: (state, error) => {
    at('live').dataset.state = state;
    say(at('live-text'), { live: 'Live', away: 'Reconnecting', refused: 'Needs a token' }[state]);
    if (state === 'live') all.forEach((one) => one());
    else if (error) missed(error);
  } });
  for (const one of [freshen.numbers, freshen.workers, freshen.scans]) timers.push(setInterval(one, 5000));
  for (const one of [freshen.watches, freshen.results]) timers.push(setInterval(one, 30000));
  timers.push(setInterval(() => { growOlder(); if (world.open?.run && !isFinal(world.open.run.state)) freshenRun(); }, 2000));
}

function stop() {
  unlisten();
  timers.splice(0).forEach(clearInterval);
}

function followHash() {
  const id = /^#run=([0-9a-f]{8,64})$/.exec(location.hash)?.[1];
  if (id) openRun(id);
  else if (world.open) closeRun();
}

say(at('host'), location.host);
at('more').addEventListener('click', () => { world.limit = Math.min(1000, world.limit * 2); freshen.runs(); });
at('widen').addEventListener('click', () => narrow(null));
at('run-close').addEventListener('click', closeRun);
at('run').addEventListener('close', closeRun);
at('map-close').addEventListener('click', () => at('map').close());
for (const dialog of [at('run'), at('token')])
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
for (const link of document.querySelectorAll('a.page')) link.addEventListener('click', (event) => showDocument(event, link.href));
at('token-button').addEventListener('click', () => askForToken());
at('token-cancel').addEventListener('click', () => at('token').close());
at('token-forget').addEventListener('click', () => useToken(''));
at('token-form').addEventListener('submit', (event) => { event.preventDefault(); useToken(at('token-field').value.trim()); });
addEventListener('popstate', followHash);
// A page that nobody sees does not keep a connection: browsers have few of them.
document.addEventListener('visibilitychange', restart);
drawToken();
drawGroups();
restart();
followHash();

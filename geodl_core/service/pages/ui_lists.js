// The lists of the page: runs, results, workers, watches, scans, and the numbers of the queue.

const world = { group: 'all', watch: null, limit: 50, runs: new Map(), numbers: [], open: null };

const jobsPath = () => {
  const query = new URLSearchParams({ limit: world.limit });
  for (const state of GROUPS.find((one) => one.key === world.group).states) query.append('state', state);
  if (world.watch) query.append('watch', world.watch);
  return 'jobs?' + query;
};

function runRow(run) {
  const part = {
    badge: badge(run.state), open: button('', () => openRun(run.id), { class: 'name' }),
    collection: make('span', { class: 'small' }), error: make('span', { class: 'error' }),
    model: make('span'), version: make('span', { class: 'small' }), bar: bar(), pace: make('span', { class: 'small' }),
    age: age(run.created), act: button('', () => act(part.verb, run.id), { class: 'quiet' }),
  };
  part.watch = button('', () => narrow(part.watch.textContent), { class: 'plain-link' });
  const cell = (name, ...inside) => make('td', { role: 'cell', class: name }, ...inside);
  const row = make('tr', { role: 'row', on: { click: (event) => {
    if (!event.target.closest('button, a') && !String(getSelection())) openRun(run.id);
  } } },
    cell('state', part.badge), cell('item', part.open, part.collection, part.error),
    cell('model', part.model, part.version), cell('watch', part.watch),
    cell('going', part.bar, part.pace), cell('age', part.age), cell('act', part.act));
  row.inside = part;
  return row;
}

function updateRunRow(row, run) {
  const { inside: part } = row;
  row.dataset.state = run.state;
  setBadge(part.badge, run.state);
  say(part.open, run.item);
  part.open.title = run.item;
  say(part.collection, run.collection);
  say(part.error, run.error && ['failed', 'invalid'].includes(run.state)
    ? run.error.kind + ': ' + firstLine(run.error.text) : '');
  part.error.title = part.error.textContent;
  say(part.model, run.model.name);
  say(part.version, run.model.version);
  say(part.watch, run.watch ?? '');
  part.watch.title = run.watch ? 'Show the runs of this watch alone' : '';
  show(part.watch, Boolean(run.watch));
  setBar(part.bar, share(run));
  part.bar.dataset.state = run.state;
  show(part.bar, ['claimed', 'running'].includes(run.state));
  say(part.pace, pace(run, now()));
  setAge(part.age, run.created);
  part.verb = !isFinal(run.state) ? 'cancel' : mayRetry(run.state) ? 'retry' : 'rerun';
  say(part.act, { cancel: 'Cancel', retry: 'Retry', rerun: 'Rerun' }[part.verb]);
  part.act.setAttribute('aria-label', part.act.textContent + ' run of ' + run.item);
}

function drawRuns() {
  const runs = [...world.runs.values()];
  keep(at('run-list'), runs, (run) => run.id, runRow, updateRunRow);
  show(at('run-table'), runs.length > 0);
  show(at('no-runs'), runs.length === 0);
  const isAll = world.group === 'all' && !world.watch;
  say(at('no-runs-text'), isAll ? 'No runs yet. Register a model, order what it should look at, publish a scene:'
    : 'No such runs.');
  show(at('how-to'), isAll);
  show(at('more'), world.mayHaveMore === true);
  show(at('narrowed'), Boolean(world.watch));
  say(at('narrowed-text'), world.watch ? 'Only runs of the watch ' + world.watch + '.' : '');
}

function drawGroups() {
  keep(at('groups'), GROUPS, (group) => group.key, (group) => {
    const number = make('span', { class: 'count' });
    const made = make('button', { type: 'button', on: { click: () => choose(group.key) } }, group.title + ' ', number);
    made.number = number;
    return made;
  }, (made, group) => {
    made.setAttribute('aria-pressed', world.group === group.key);
    const states = group.states.length ? group.states : GROUPS.flatMap((one) => one.states);
    const total = states.reduce((sum, state) => sum + sumOf(world.numbers, 'geodl_runs', { state }), 0);
    say(made.number, world.numbers.length ? count(total) : '');
    made.dataset.group = group.key;
  });
}

function drawQueue() {
  const sum = (name, wanted) => sumOf(world.numbers, name, wanted);
  const wait = sum('geodl_queue_oldest_seconds');
  const facts = [
    ['Waiting pieces of work', count(sum('geodl_units', { state: 'open' }))],
    ['Being worked on', count(sum('geodl_units', { state: 'leased' }))],
    ['Longest wait', wait > 0 ? span(wait) : 'none'],
    ['Tiles since the start', count(sum('geodl_run_tiles_total'))],
    ['Published, not matched yet', count(sum('geodl_outbox_lag'))],
  ];
  const failing = sum('geodl_webhook_messages', { state: 'dead' });
  if (failing) facts.push(['Webhook messages given up', count(failing)]);
  keep(at('queue'), world.numbers.length ? facts : [], ([name]) => name,
    ([name]) => make('div', {}, make('dt', { text: name }), make('dd')),
    (row, [, value]) => say(row.lastChild, value));
}

function drawWorkers(workers) {
  keep(at('worker-list'), workers, (one) => one.name, () => {
    const row = make('li', { class: 'worker' }, make('span', { class: 'dot' }), make('span', { class: 'name' }),
      make('span', { class: 'small' }), age(null, (time, at) => 'heard of ' + ago(time, at)));
    row.lastChild.className = 'small';
    return row;
  }, (row, one) => {
    const [dot, name, doing, seen] = row.children;
    dot.dataset.state = one.doing ? 'busy' : 'idle';
    say(name, one.name);
    say(doing, one.doing ?? 'waits for work');
    setAge(seen, one.seen, seen.words);
    show(seen, now() - seconds(one.seen) > 45);
  });
  show(at('no-workers'), workers.length === 0);
}

function drawWatches(watches) {
  keep(at('watch-list'), watches, (one) => one.watch.name, (one) => {
    const name = one.watch.name;
    const part = {
      name: button(name, () => narrow(name), { class: 'name', title: 'Show its runs alone' }),
      state: make('span', { class: 'tag' }), text: make('p', { class: 'small' }), words: make('dl', { class: 'words' }),
      counts: make('p', { class: 'small counts' }), problem: make('p', { class: 'error' }), next: age(null),
      act: button('', () => pause(name, !part.isPaused), { class: 'quiet' }),
    };
    part.runs = make('span');
    part.counts.append(part.runs, part.next);
    const row = make('li', { class: 'watch' }, make('div', { class: 'title' }, part.name, part.state, part.act),
      part.text, part.words, part.counts, part.problem);
    row.inside = part;
    return row;
  }, (row, one) => {
    const { inside: part } = row;
    part.isPaused = one.is_paused;
    row.dataset.paused = one.is_paused;
    say(part.state, one.is_paused ? 'paused' : '');
    say(part.act, one.is_paused ? 'Resume' : 'Pause');
    part.act.setAttribute('aria-label', part.act.textContent + ' watch ' + one.watch.name);
    say(part.text, one.watch.description ?? '');
    const words = [['runs', one.watch.model], ...watchWords(one.watch)];
    keep(part.words, words, ([name]) => name, ([name]) => make('div', {}, make('dt', { text: name }), make('dd')),
      (line, [, value]) => say(line.lastChild, value));
    const most = one.watch.max_runs_per_day;
    say(part.runs, (most ? one.runs_today + ' of ' + several(most, 'run') : several(one.runs_today, 'run')) + ' today');
    part.next.words = (time, at) => time > at ? ', scans ' + ago(time, at) : ', scans soon';
    setAge(part.next, one.is_paused ? null : one.next_at, part.next.words);
    const last = one.last_problem;
    say(part.problem, last ? firstLine(last.text ?? last.message ?? '') : '');
    show(part.problem, Boolean(last));
    show(part.text, Boolean(one.watch.description));
  });
  show(at('no-watches'), watches.length === 0);
}

function drawScans(scans) {
  keep(at('scan-list'), scans, (one) => one.id, () => {
    const part = { badge: badge(''), name: make('span', { class: 'name' }), bar: bar(), text: make('p', { class: 'small' }),
      when: age(null), error: make('p', { class: 'error' }) };
    const row = make('li', { class: 'scan' }, make('div', { class: 'title' }, part.name, part.badge, part.when), part.bar,
      part.text, part.error);
    row.inside = part;
    return row;
  }, (row, one) => {
    const { inside: part } = row, { counts } = one;
    say(part.name, one.watch + (one.kind === 'backfill' ? ', back-fill' : ''));
    setBadge(part.badge, one.state);
    setAge(part.when, one.updated);
    setBar(part.bar, one.share);
    show(part.bar, one.state === 'open' || one.state === 'held');
    say(part.text, one.since.slice(0, 10) + ' to ' + one.until.slice(0, 10) + ': '
      + count(counts.found) + ' found, ' + count(counts.matched) + ' match, ' + count(counts.ordered) + ' ordered');
    say(part.error, one.error ? one.error.class + ': ' + firstLine(one.error.message) : '');
    show(part.error, Boolean(one.error));
  });
  show(at('no-scans'), scans.length === 0);
}

function drawResults(items) {
  keep(at('result-list'), items, (item) => item.collection + '/' + item.id, (item) => {
    const link = make('a', { target: '_blank', rel: 'noopener noreferrer', on: { click: (event) =>
      wayTo(part.item).map ? lookAt(event, part.item) : showDocument(event, link.href) } });
    const part = { link, image: make('img', { alt: '', loading: 'lazy', width: 160, height: 120 }),
      name: make('span', { class: 'name' }), model: make('span', { class: 'small' }), age: age(null) };
    part.instead = make('span', { class: 'instead' });
    part.frame = make('span', { class: 'frame' }, part.instead, part.image);
    part.age.className = 'small';
    link.append(part.frame, part.name, part.model, part.age);
    const row = make('li', {}, link);
    row.inside = part;
    return row;
  }, (row, item) => {
    const { inside: part } = row, about = item.properties ?? {}, way = wayTo(item);
    part.item = item;
    say(part.name, item.id);
    part.link.title = item.id;
    part.link.href = way.look;
    say(part.model, [about['geodl:model'], resultWords(item)].filter(Boolean).join(' · '));
    setAge(part.age, about.created);
    part.frame.classList.toggle('bare', !way.picture);
    say(part.instead, way.picture ? 'no picture' : resultWords(item));
    show(part.image, Boolean(way.picture));
    if (way.picture) setPicture(part.image, way.picture);
  });
  show(at('no-results'), items.length === 0);
}

// Where an Item is, where its map is, and its picture: below this page, from its ids alone.
function wayTo(item, pixels = 256) {
  const document = address('collections', item.collection, 'items', item.id);
  const key = assetOf(item);
  const asset = document && key !== null ? address('collections', item.collection, 'items', item.id, 'assets', key) : null;
  return { document, map: asset && asset + '/map', picture: asset && asset + '/preview.png?max_size=' + pixels,
    look: asset ? asset + '/map' : document ?? '#' };
}

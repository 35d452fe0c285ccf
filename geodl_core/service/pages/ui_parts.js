// Elements of the page. All that comes from outside becomes text, never markup.

const at = (id) => document.getElementById(id);

function make(tag, facts = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(facts)) {
    if (name === 'class') element.className = value;
    else if (name === 'text') element.textContent = value;
    else if (name === 'on') for (const [kind, act] of Object.entries(value)) element.addEventListener(kind, act);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

// Written only where it differs: a selection, and what a screen reader is at, stay.
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function show(element, is) {
  if (element.hidden === is) element.hidden = !is;
}

// Makes the children of a list those of `items`, in their order; elements live as long as their keys are there.
function keep(list, items, keyOf, create, update) {
  list.kept ??= new Map();
  const seen = new Set();
  let before = null;
  for (const item of items) {
    const key = keyOf(item);
    if (seen.has(key)) continue;
    seen.add(key);
    let row = list.kept.get(key);
    if (!row) list.kept.set(key, row = create(item));
    update(row, item);
    const next = before ? before.nextSibling : list.firstChild;
    if (row !== next) list.insertBefore(row, next);
    before = row;
  }
  for (const [key, row] of list.kept) if (!seen.has(key)) { row.remove(); list.kept.delete(key); }
}

const now = () => Date.now() / 1000;

function age(time, words = ago) {
  const element = make('time');
  setAge(element, time, words);
  return element;
}

function setAge(element, time, words = ago) {
  const moment = seconds(time);
  element.moment = moment;
  element.words = words;
  if (!Number.isFinite(moment)) { say(element, ''); element.removeAttribute('datetime'); return; }
  const date = new Date(moment * 1000);
  element.setAttribute('datetime', date.toISOString());
  element.title = date.toLocaleString();
  say(element, words(moment, now()));
}

function growOlder() {
  for (const element of document.querySelectorAll('time'))
    if (Number.isFinite(element.moment)) say(element, element.words(element.moment, now()));
}

function badge(state) {
  const element = make('span', { class: 'badge' });
  setBadge(element, state);
  return element;
}

function setBadge(element, state) {
  if (element.dataset.state === state) return;
  element.dataset.state = state;
  say(element, state);
}

function bar() {
  const fill = make('span');
  const element = make('span', { class: 'bar', role: 'progressbar', 'aria-valuemin': 0, 'aria-valuemax': 100,
    'aria-label': 'Progress' }, fill);
  return element;
}

function setBar(element, part) {
  const percent = Math.floor(100 * part);
  element.setAttribute('aria-valuenow', percent);
  element.firstChild.style.width = percent + '%';
}

function button(text, act, facts = {}) {
  return make('button', { type: 'button', text, on: { click: act }, ...facts });
}

let sayingTimer = 0;
function tell(text, isBad = false) {
  const box = at('told');
  // What lies behind an open dialog is neither seen nor read out.
  const top = [...document.querySelectorAll('dialog[open]')].pop() ?? document.body;
  if (box.parentNode !== top) top.append(box);
  box.dataset.bad = isBad;
  say(box, text);
  clearTimeout(sayingTimer);
  sayingTimer = setTimeout(() => say(box, ''), isBad ? 10000 : 4000);
}

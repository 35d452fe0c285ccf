// Asking the server. A token is kept for this tab alone, and travels in the header.

const TOKEN = 'geodl-token';
const token = () => sessionStorage.getItem(TOKEN);

const AWAY = 'The server does not answer; this page goes on trying.';

class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

function headers(more = {}) {
  return token() ? { ...more, Authorization: 'Bearer ' + token() } : more;
}

async function ask(path, options = {}) {
  const asked = { ...options, headers: headers({ Accept: 'application/json', ...options.headers }) };
  const answer = await fetch(path, asked).catch(() => { throw new Refused(0, AWAY); });
  if (answer.ok) return answer;
  const text = await answer.text();
  let told = null;
  try { told = JSON.parse(text); } catch { /* a proxy's page: its status says enough */ }
  const words = told?.description ?? told?.detail ?? told?.title ?? 'the server answered ' + answer.status;
  throw new Refused(answer.status, firstLine(words, 500));
}

const askJson = async (path) => (await ask(path)).json();

// Pictures are loaded by the browser, which sends no token: with one they are fetched.
const pictures = new Map();
async function setPicture(image, path) {
  if (image.dataset.path === path) return;
  image.dataset.path = path;
  image.dataset.is = 'coming';
  image.onload = () => { image.dataset.is = 'there'; };
  image.onerror = () => { image.dataset.is = 'missing'; };
  if (!token()) { image.src = path; return; }
  try {
    if (!pictures.has(path)) pictures.set(path, ask(path, { headers: { Accept: 'image/png' } })
      .then((answer) => answer.blob()).then((blob) => URL.createObjectURL(blob)));
    const url = await pictures.get(path);
    if (image.dataset.path === path) image.src = url;
  } catch {
    pictures.delete(path);
    if (image.dataset.path === path) image.dataset.is = 'missing';
  }
}

function forgetPictures() {
  for (const coming of pictures.values()) coming.then((url) => URL.revokeObjectURL(url), () => null);
  pictures.clear();
}

// Server-sent events by fetch, which can send a token. Comes back by itself until it is ended.
function listen(path, { onEvent, onState }) {
  let last = null, pause = 1000, ending = null, isOver = false, timer = 0;
  async function once() {
    ending = new AbortController();
    const more = last === null ? {} : { 'Last-Event-ID': last };
    const answer = await ask(path, { headers: { Accept: 'text/event-stream', ...more }, signal: ending.signal });
    if (answer.status === 204) { isOver = true; return; }
    onState('live');
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ''; ;) {
      const { value, done } = await reader.read();
      if (done) return;
      pause = 1000;
      const found = readEvents(text + value);
      text = found.rest;
      for (const event of found.events) {
        if (event.id) last = event.id;
        onEvent(event.kind, JSON.parse(event.data));
      }
    }
  }
  async function on() {
    while (!isOver) {
      let problem = null;
      try { await once(); } catch (error) { problem = error instanceof Refused ? error : new Refused(0, AWAY); }
      if (isOver) return;
      // Another token begins anew; trying the same one again and again would use up the address's budget.
      if (problem?.status === 401 || problem?.status === 403) { onState('refused', problem); return; }
      onState('away', problem);
      await new Promise((go) => { timer = setTimeout(go, pause * (0.75 + Math.random() / 2)); });
      pause = Math.min(15000, pause * 2);
    }
  }
  on();
  return () => { isOver = true; clearTimeout(timer); ending?.abort(); };
}

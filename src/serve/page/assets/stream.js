// Server-sent events through `fetch`. An `EventSource` could neither send a token as a header nor
// notice a connection that is silent because it is dead: it does not show heartbeats.
import { address } from './api.js';
import { headers } from './token.js';

/** The server sends a heartbeat every 10 s. */
const SILENCE_MS = 25_000;
const WAIT_MAX_MS = 10_000;

export class Stream {
  /** `on.open()`, `on.event(name, data)`, and `on.lost(waitMs, status)` before a wait. */
  constructor(on) {
    this.on = on;
    this.lastId = null;
    /** The publication of an answer that was read before the first event. */
    this.since = null;
    this.retryMs = 1000;
    this.stopper = null;
  }

  open() {
    if (this.stopper) return;
    this.stopper = new AbortController();
    this.run(this.stopper.signal);
  }

  close() {
    this.stopper?.abort();
    this.stopper = null;
  }

  /** Ends the wait before the next try. */
  hurry() {
    this.wake?.();
  }

  async run(stop) {
    let failures = 0;
    while (!stop.aborted) {
      let status = 0;
      try {
        await this.read(stop, () => { failures = 0; });
      } catch (error) {
        status = error.status ?? 0;
      }
      if (stop.aborted) return;
      const wait = Math.min(this.retryMs * 2 ** failures, WAIT_MAX_MS);
      failures += 1;
      this.on.lost(wait, status);
      await this.sleep(wait);
    }
  }

  sleep(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Reads one connection to its end. */
  async read(stop, opened) {
    this.event = null;
    const cut = new AbortController();
    const end = () => cut.abort();
    stop.addEventListener('abort', end, { once: true });
    let timer = setTimeout(end, SILENCE_MS);
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(end, SILENCE_MS);
    };
    try {
      const body = await this.connect(cut.signal);
      opened();
      this.on.open();
      await this.parse(body.getReader(), alive);
    } finally {
      clearTimeout(timer);
      stop.removeEventListener('abort', end);
      cut.abort();
    }
  }

  async connect(signal) {
    const resume = this.lastId === null ? {} : { 'Last-Event-ID': this.lastId };
    const since = this.lastId === null ? this.since : null;
    const response = await fetch(address('events', { since }), {
      signal, cache: 'no-store', headers: { Accept: 'text/event-stream', ...resume, ...headers() },
    });
    if (!response.ok) throw Object.assign(new Error('refused'), { status: response.status });
    return response.body;
  }

  async parse(reader, alive) {
    const decoder = new TextDecoder();
    let text = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      const lines = (text + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r/);
      text = lines.pop();
      lines.forEach((line) => this.line(line));
    }
  }

  line(line) {
    if (line === '') {
      this.dispatch();
      return;
    }
    const at = line.indexOf(':');
    if (at === 0) return;
    const field = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? '' : line.slice(at + 1).replace(/^ /, '');
    this.event ??= { name: 'message', data: [] };
    if (field === 'data') this.event.data.push(value);
    else if (field === 'event') this.event.name = value;
    else if (field === 'id') this.event.id = value;
    else if (field === 'retry' && /^\d+$/.test(value)) this.retryMs = Number(value);
  }

  dispatch() {
    const event = this.event;
    this.event = null;
    if (!event || event.data.length === 0) return;
    if (event.id !== undefined) this.lastId = event.id;
    this.on.event(event.name, JSON.parse(event.data.join('\n')));
  }
}

// What is known of the job, from its event stream; and when the view is to be read anew.
import { get } from './api.js';
import { Stream } from './stream.js';

const SAMPLES_MAX = 900;
/** Without events, the job is asked for its throughput this often. */
const ASK_MS = 5000;
/** A stream that is lost for this long leaves stale numbers. */
const STALE_MS = 10_000;

/** Of files only the bytes that are left are known, and events may be without them. */
const unknownLag = (job) => job.lag_records === null && job.lag_bytes === undefined;

export class Live {
  /** `changed(names, all)` is called when rows of these queries changed, or all may have. */
  constructor({ changed, status }) {
    this.changed = changed;
    this.status = status;
    this.job = null;
    this.publication = null;
    this.publishedAt = null;
    this.samples = [];
    this.connection = 'connecting';
    this.lostAt = null;
    this.nextTryAt = null;
    this.paused = false;
    this.stream = new Stream({
      open: () => this.opened(),
      event: (name, data) => this.event(name, data),
      lost: (wait) => this.lost(wait),
    });
  }

  async start() {
    document.addEventListener('visibilitychange', () => this.resume());
    addEventListener('online', () => this.stream.hurry());
    setInterval(() => this.tick(), 1000);
    await this.askJob();
    this.resume();
  }

  /** Listens while the page is seen and not paused. */
  resume() {
    if (this.paused || document.hidden) this.stream.close();
    else this.stream.open();
    if (this.paused || document.hidden) this.connection = 'connecting';
    this.status();
  }

  setPaused(paused) {
    this.paused = paused;
    this.resume();
  }

  /** One word for how fresh the numbers are. */
  get state() {
    if (this.paused) return 'paused';
    if (this.connection !== 'lost') return this.connection;
    // A job that has read everything ends, and its server with it.
    if (this.finished) return 'ended';
    return Date.now() - this.lostAt < STALE_MS ? 'reconnecting' : 'stale';
  }

  opened() {
    const again = this.lostAt !== null;
    this.connection = 'live';
    this.lostAt = null;
    if (again || !this.job?.version) this.askJob();
    if (again) this.changed([], true);
    this.status();
  }

  lost(wait) {
    this.connection = 'lost';
    this.lostAt ??= Date.now();
    this.nextTryAt = Date.now() + wait;
    this.status();
  }

  event(name, data) {
    if (name !== 'publication' && name !== 'reset') return;
    this.take(data);
    this.publishedAt = data.published_at ? Date.parse(data.published_at) : Date.now();
    if (data.job) {
      this.job = { ...this.job, ...data.job };
      this.sample();
      if (unknownLag(data.job) && Date.now() - this.askedAt > ASK_MS) this.askJob();
    }
    this.changed(Object.keys(data.changed ?? {}), name === 'reset');
    this.status();
  }

  /** What every answer says of the publication that it comes from. */
  take(answer) {
    this.publication = answer.publication;
    this.generation = answer.generation;
    this.watermark = answer.watermark;
    this.finalThrough = answer.final_through;
    this.finished = answer.finished;
  }

  async askJob() {
    this.askedAt = Date.now();
    try {
      const answer = await get('job', {}, { fresh: true });
      this.job = answer.job;
      if (this.publication === null || answer.publication > this.publication) this.take(answer);
      if (answer.published_at) this.publishedAt = Date.parse(answer.published_at);
      this.stream.since = answer.publication;
      this.sample();
      this.status();
    } catch {
      // The event stream tells that the server is away.
    }
  }

  /** Once a second: ages go on, and a job without publications is asked how it is. */
  tick() {
    const last = Math.max(this.askedAt ?? 0, this.samples.at(-1)?.at ?? 0);
    if (this.connection === 'live' && Date.now() - last > ASK_MS) this.askJob();
    if (!document.hidden) this.status();
  }

  /** At most one sample of the throughput a second. */
  sample() {
    const at = Date.now();
    if (at - (this.samples.at(-1)?.at ?? 0) < 900) return;
    const { events_per_second: rate = null, lag_records = null, lag_bytes = null } = this.job;
    this.samples.push({ at, rate, lag_records, lag_bytes });
    if (this.samples.length > SAMPLES_MAX) this.samples.shift();
  }
}

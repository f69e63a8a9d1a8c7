// The job: its throughput, its partitions, and its settings.
import { get } from './api.js';
import { element, setHidden, setText, tiles } from './dom.js';
import { DASH, bytes, count, duration, instant, lag, minute } from './format.js';
import { plot } from './plot.js';
import { header, number, rowsOf, text } from './rows.js';
import { parts } from './section.js';

export function jobView(section, live) {
  const working = section.querySelector('.working');
  const { meta, note, links } = parts(section);
  const summary = tiles(section.querySelector('.tiles'));
  const facts = tiles(section.querySelector('.facts'));
  const held = { by: null, newest: null };
  const fill = rowsOf(section.querySelector('.partitions'), columns(held),
    (row) => `${row.topic} ${row.partition}`);
  const fillSamples = rowsOf(section.querySelector('.throughput'), SAMPLES, (row) => row.at);
  let plots = null;

  const drawSamples = () => {
    if (working.hidden) return;
    plots ??= plotsIn(section.querySelector('.plots'), live.job);
    plots(live.samples);
    fillSamples(live.samples.slice(-60).reverse());
  };

  return {
    interval: 1000,
    title: () => 'Job',
    wants: () => true,
    show() { links('partitions', {}, 'job'); },
    async refresh(signal) {
      const answer = await get('partitions', {}, { signal });
      if (!live.job) await live.askJob();
      if (!live.job) return;
      setHidden(working, false);
      hold(held, answer.rows);
      fill(answer.rows);
      summary(summaryOf(live.job, answer.rows));
      facts(factsOf(live.job));
      drawSamples();
      note(null);
      meta(answer, [live.job.store]);
    },
    tick: drawSamples,
    failed(message, bad) {
      setHidden(working, true);
      note(message, bad);
    },
  };
}

/** The partition with the least watermark holds epochs open, unless it is idle. */
function hold(held, rows) {
  const times = rows.filter((row) => row.watermark && !row.idle)
    .map((row) => Date.parse(row.watermark));
  const least = Math.min(...times);
  held.newest = Math.max(...times);
  held.least = times.length > 1 && least < held.newest ? least : null;
}

function columns(held) {
  return [
    header({ make: partitionCell }),
    text((row) => row.topic),
    number((row) => count(row.next_offset)),
    number((row) => count(row.lag_records)),
    number((row) => bytes(row.lag_bytes)),
    { className: '', make: (cell) => watermarkCell(cell, held) },
    { className: 'state-cell', make: (cell) => partitionState(cell, held) },
    number((row) => count(row.malformed), { quiet: true }),
    { className: 'lost', make: lostCell },
  ];
}

/** A path is long: its end says most. */
function partitionCell(cell) {
  const name = element('bdi');
  cell.className = 'path';
  cell.append(name);
  return (row) => {
    setText(name, row.partition);
    name.title = row.partition;
  };
}

function watermarkCell(cell, held) {
  const time = element('span');
  const behind = element('span', { className: 'dim' });
  cell.append(time, ' ', behind);
  return (row) => {
    setText(time, instant(row.watermark));
    const ms = row.watermark ? held.newest - Date.parse(row.watermark) : 0;
    setText(behind, ms > 0 ? `${duration(ms)} behind` : '');
  };
}

function partitionState(cell, held) {
  const badge = element('span');
  cell.append(badge);
  return (row) => {
    const holds = !row.idle && row.watermark && Date.parse(row.watermark) === held.least;
    const reads = row.watermark ? 'reading' : 'nothing read';
    setText(badge, row.idle ? 'idle' : holds ? 'least watermark' : reads);
    badge.className = row.idle ? 'badge final' : holds ? 'badge provisional' : 'dim';
  };
}

function lostCell(cell) {
  const value = element('span');
  cell.append(value);
  return (row) => {
    setText(value, row.lost ?? DASH);
    value.className = row.lost ? 'badge bad' : 'zero';
  };
}

function summaryOf(job, rows) {
  const sum = (field) => rows.reduce((total, row) => total + (row[field] ?? 0), 0);
  return {
    State: job.state ?? DASH,
    'Events in the store': count(job.events),
    'Events/s': count(job.events_per_second),
    'Bytes/s': bytes(job.bytes_per_second),
    Lag: lag(job),
    'Malformed records': count(sum('malformed')),
    'Partitions with losses': count(rows.filter((row) => row.lost).length),
  };
}

function factsOf(job) {
  return {
    Version: job.version,
    Store: job.store,
    Started: `${minute(job.started_at)}, ${duration(Date.now() - Date.parse(job.started_at))} ago`,
    Queries: (job.queries ?? []).join(', '),
    'Workers, processes': `${count(job.workers)}, ${count(job.processes)}`,
    'Epoch length': duration(job.epoch_length_ms),
    'Join window': `${count(job.join_window_epochs)} epochs`,
    'Maximum delay': duration(job.max_delay_ms),
    'Maximum future': duration(job.max_future_ms),
  };
}

const wall = (at) => new Date(at).toISOString().slice(11, 19);

const SAMPLES = [
  header(text((sample) => wall(sample.at))),
  number((sample) => count(sample.rate)),
  number(lag),
];

const short = (value) => (value >= 1e6 ? `${count(value / 1e6)} M`
  : value >= 10_000 ? `${count(value / 1e3)} k` : count(value));

function plotsIn(host, job) {
  const inBytes = job.lag_records === null && job.lag_bytes !== null;
  const field = inBytes ? 'lag_bytes' : 'lag_records';
  const common = {
    group: 'job', range: (min, max) => [0, Math.max(10, max * 1.1)],
    when: (seconds) => wall(seconds * 1000),
  };
  const one = (title, label, colour, format, whole) => plot(host, {
    ...common, title, format, series: [{ label, colour, format: whole, fill: true }],
  });
  const rates = one('Throughput', 'events/s', 'plot-1', short, count);
  const lags = inBytes ? one('Lag', 'unread', 'plot-2', bytes, bytes)
    : one('Lag', 'records', 'plot-2', short, count);
  return (samples) => {
    const seconds = samples.map((sample) => sample.at / 1000);
    rates(seconds, [samples.map((sample) => sample.rate)]);
    lags(seconds, [samples.map((sample) => sample[field])]);
  };
}

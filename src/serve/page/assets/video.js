// One video: its history as plots and as a table; and the search for a video.
import { get } from './api.js';
import { element, setHidden, setText, tiles } from './dom.js';
import {
  DASH, bounds, clock, count, day, duration, epochRange, minute, percent, real, signed,
} from './format.js';
import { plot } from './plot.js';
import { link } from './route.js';
import { header, number, rowsOf, text } from './rows.js';
import { lengthOf, parts, stateColumn } from './section.js';
import { inUnits } from './units.js';

const FOUND_MAX = 50;
const HEADING = 'Video';

export function videoView(section, live) {
  const form = section.querySelector('form');
  const heading = section.querySelector('h2');
  const history = section.querySelector('.history');
  const found = section.querySelector('.found');
  const part = parts(section);
  const fill = rowsOf(section.querySelector('tbody'), columns(live), (row) => row.epoch);
  const summary = tiles(section.querySelector('.tiles'));
  let plots = null;
  let route = { id: '', parameters: new URLSearchParams() };
  form.hidden = false;
  listen(form, () => route);

  return {
    interval: 1000,
    title: () => heading.textContent,
    wants: (changed) => route.id !== '' && changed.length > 0,
    show(next) {
      if (next.id !== route.id) setText(heading, next.id || HEADING);
      setHidden(history, true);
      setHidden(found, true);
      part.note(null);
      route = next;
      form.elements.search.value = route.parameters.get('search') ?? '';
      form.elements.epochs.value = route.parameters.get('epochs') ?? '96';
      setHidden(form.querySelector('.range'), !route.id);
      setHidden(section.querySelector('.links'), !route.id);
      setText(section.querySelector('.meta'), '');
    },
    async refresh(signal) {
      if (!route.id) return search(route.parameters.get('search'), { found, part, signal });
      const epochs = form.elements.epochs.value;
      const path = `videos/${encodeURIComponent(route.id)}`;
      part.links(path, { epochs });
      const answer = await get(path, { epochs }, { signal });
      setText(heading, answer.title?.title ?? route.id);
      const known = answer.rows.length > 0;
      setHidden(history, !known);
      part.note(known ? null : 'No epoch has rows of this video.');
      part.meta(answer, about(answer, route.id));
      if (!known) return undefined;
      plots ??= plotsIn(section.querySelector('.plots'), live);
      const rows = answer.rows.map(inUnits);
      summary(latest(rows, live));
      plots(contiguous(rows, lengthOf(live)));
      fill(rows.reverse());
      return undefined;
    },
    failed(message, bad) {
      setHidden(history, true);
      part.note(message, bad);
    },
  };
}

function listen(form, route) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const asked = form.elements.search.value.trim();
    location.hash = /^\d+$/.test(asked)
      ? link('video', asked) : link('video', '', { search: asked });
  });
  form.elements.epochs.addEventListener('change', () => {
    location.hash = link('video', route().id, { epochs: form.elements.epochs.value });
  });
}

async function search(asked, { found, part, signal }) {
  if (!asked) {
    part.note('Give a title or an id, or choose a video in Trending Now.');
    return;
  }
  const answer = await get('titles', { search: asked, limit: FOUND_MAX }, { signal });
  found.replaceChildren(...answer.rows.map(foundItem));
  setHidden(found, answer.rows.length === 0);
  const more = answer.total > answer.rows.length ? ` The first ${count(answer.rows.length)}:` : '';
  part.note(answer.rows.length
    ? `${count(answer.total)} titles have “${asked}”.${more}`
    : `No title has “${asked}”.`);
}

function foundItem(row) {
  const a = element('a', { href: link('video', row.video_id) },
    element('bdi', { textContent: row.title ?? row.video_id }));
  return element('li', {}, a,
    element('span', { className: 'dim', textContent: ` ${row.genre ?? ''} · ${row.video_id}` }));
}

function about(answer, id) {
  const { title } = answer;
  const texts = [`id ${id}`];
  if (title?.genre) texts.push(title.genre);
  if (title?.launched_at) texts.push(`launched ${minute(title.launched_at)}`);
  return texts;
}

function latest(rows, live) {
  const row = rows.at(-1);
  const end = Date.parse(row.epoch_start) + lengthOf(live);
  return {
    'Latest epoch': epochRange(row.epoch_start, lengthOf(live)).slice(11),
    State: row.final ? 'final' : 'provisional',
    Momentum: signed(row.momentum),
    Score: signed(row.score),
    'Rises since': rise(row, rows, end),
    'Plays, expected': `${count(row.plays)} · ${real(row.expected_plays)}`,
    Impressions: count(row.impressions),
    'Take rate, 95 % bounds': `${percent(row.rate)} ${bounds(row.rate_low, row.rate_high)}`,
  };
}

function rise(row, rows, end) {
  if (row.since === null || row.since === undefined) return DASH;
  const start = rows.find((other) => other.epoch === row.since)?.epoch_start;
  if (!start) return 'before these epochs';
  const time = day(start) === day(row.epoch_start) ? clock(start) : minute(start).slice(5);
  return `${time} · ${duration(end - Date.parse(start))}`;
}

function columns(live) {
  return [
    header(text((row) => epochRange(row.epoch_start, lengthOf(live)))),
    stateColumn(),
    number((row) => count(row.plays)),
    number((row) => real(row.expected_plays)),
    number((row) => count(row.impressions)),
    number((row) => `${percent(row.rate)} ${bounds(row.rate_low, row.rate_high)}`.trim()),
    number((row) => signed(row.score)),
    number((row) => signed(row.momentum)),
  ];
}

/** All epochs from the first row to the last; those without a row are empty. */
function contiguous(rows, lengthMs) {
  const first = rows[0].epoch;
  const start = Date.parse(rows[0].epoch_start) / 1000;
  const all = Array.from({ length: rows.at(-1).epoch - first + 1 }, (_, at) => ({
    seconds: start + (at * lengthMs) / 1000,
  }));
  rows.forEach((row) => Object.assign(all[row.epoch - first], row));
  return all;
}

function plotsIn(host, live) {
  const common = {
    group: 'video',
    when: (seconds) => epochRange(new Date(seconds * 1000).toISOString(), lengthOf(live)),
  };
  const drawn = [
    [['plays', 'expected_plays'], plot(host, { ...common, ...PLAYS })],
    [['rate', 'rate_low', 'rate_high'], plot(host, { ...common, ...RATE })],
    [['impressions'], plot(host, { ...common, ...IMPRESSIONS })],
    [['score', 'momentum'], plot(host, { ...common, ...SCORES })],
  ];
  return (epochs) => {
    const seconds = epochs.map((epoch) => epoch.seconds);
    const open = epochs.find((epoch) => epoch.final === false);
    for (const [names, set] of drawn) {
      set(seconds, names.map((name) => epochs.map((epoch) => epoch[name] ?? null)),
        open ? open.seconds - lengthOf(live) / 2000 : null);
    }
  };
}

const fromZero = (min, max) => [0, Math.max(1, max * 1.08)];

const PLAYS = {
  title: 'Plays', format: count, range: fromZero,
  series: [
    { label: 'observed', colour: 'plot-1', format: count, fill: true },
    { label: 'expected', colour: 'plot-2', format: (value) => real(value), dash: true },
  ],
};

const RATE = {
  title: 'Take rate', format: (value) => percent(value, value % 0.01 ? 1 : 0), band: [3, 2],
  range: (min, max, data) => {
    const rates = data[1].filter((rate) => rate !== null);
    return [0, Math.min(1, max * 1.05, 3 * Math.max(0.01, ...rates)) || 1];
  },
  series: [
    { label: 'with 95 % bounds', colour: 'plot-1', format: (value, u, at) =>
      `${percent(value)} ${bounds(u.data[2][at], u.data[3][at])}` },
    { quiet: true, colour: 'plot-1' },
    { quiet: true, colour: 'plot-1' },
  ],
};

const IMPRESSIONS = {
  title: 'Impressions', format: count, range: fromZero,
  series: [{ label: 'page requests', colour: 'plot-3', format: count, fill: true }],
};

const SCORES = {
  title: 'Score and momentum', format: (value) => real(value, 0), marks: [-4, 4],
  range: (min, max) => [Math.min(-4.5, min * 1.05), Math.max(4.5, max * 1.05)],
  series: [
    { label: 'score', colour: 'plot-3', format: signed },
    { label: 'momentum', colour: 'plot-1', format: signed },
  ],
};

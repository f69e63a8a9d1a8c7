// Trending Now: the videos of one epoch by momentum.
import { get } from './api.js';
import { element, setAttribute, setHidden, setText } from './dom.js';
import {
  DASH, bounds, clock, count, day, duration, epochRange, minute, percent, real, signed,
} from './format.js';
import { link } from './route.js';
import { header, number, rowsOf, text } from './rows.js';
import { lengthOf, parts } from './section.js';
import { spark } from './spark.js';
import { inUnits } from './units.js';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
/** From this score on, chance is no explanation (docs/trending.md). */
const ALARM = 4;
const NEW_DAYS = 7;

export function trendingView(section, live) {
  const form = section.querySelector('form');
  const table = section.querySelector('.scroll');
  const { meta, note, links } = parts(section);
  const scale = { most: 1 };
  const fill = rowsOf(section.querySelector('tbody'), columns(live, scale), (row) => row.video_id,
    { moving: true });
  let parameters = new URLSearchParams();
  let genres = false;
  form.hidden = false;
  form.addEventListener('change', () => { location.hash = link('trending', '', chosen(form)); });
  form.addEventListener('submit', (event) => event.preventDefault());
  giveRoles(section.querySelector('table'));

  return {
    interval: 1000,
    title: () => 'Trending Now',
    wants: (changed) => changed.some((name) => ['trending', 'trends', 'take_rate'].includes(name)),
    show(route) {
      parameters = route.parameters;
      showFilters(form, parameters);
    },
    async refresh(signal) {
      if (!genres) genres = await readGenres(form, parameters, signal);
      const query = queryOf(parameters, live);
      links('trending', query);
      const answer = await get('trending', query, { signal });
      const rows = answer.rows.map(inUnits);
      scale.most = Math.max(ALARM, ...rows.map((row) => Math.abs(row.momentum)));
      fill(rows);
      setHidden(table, answer.rows.length === 0);
      note(answer.rows.length ? null : emptyReason(parameters));
      meta(answer, about(answer, live, parameters));
    },
    failed(message, bad) {
      setHidden(table, true);
      note(message, bad);
    },
  };
}

function queryOf(parameters, live) {
  const days = Number(parameters.get('new'));
  const now = live.watermark ? Date.parse(live.watermark) : Date.now();
  const since = Math.floor((now - days * DAY_MS) / HOUR_MS) * HOUR_MS;
  return {
    limit: parameters.get('limit') ?? 20,
    genre: parameters.get('genre'),
    launched_since: days > 0 ? new Date(since).toISOString().replace('.000Z', 'Z') : null,
    direction: parameters.get('direction') === 'falling' ? 'falling' : 'rising',
    min_impressions: parameters.get('min'),
    epoch: parameters.get('epoch'),
  };
}

function about(answer, live, parameters) {
  const [row] = answer.rows;
  const texts = [];
  if (row) texts.push(epochRange(row.epoch_start, lengthOf(live)));
  if (row) texts.push(row.final ? 'final' : 'provisional');
  texts.push(`${count(answer.rows.length)} of ${count(answer.total)} videos`);
  if (parameters.get('epoch')) texts.unshift('not the latest epoch');
  return texts;
}

function emptyReason(parameters) {
  return [...parameters.keys()].length
    ? 'No video is like that in this epoch.'
    : 'No video has a score yet. A video has one after a day of history.';
}

function chosen(form) {
  const values = Object.fromEntries(new FormData(form));
  return { ...values, direction: values.direction === 'falling' ? 'falling' : '' };
}

function showFilters(form, parameters) {
  const falling = parameters.get('direction') === 'falling';
  form.elements.direction.value = falling ? 'falling' : 'rising';
  for (const name of ['genre', 'new', 'min', 'limit']) {
    const value = parameters.get(name) ?? '';
    const select = form.elements[name];
    if (![...select.options].some((option) => option.value === value)) addOption(select, value);
    select.value = value;
  }
  setHidden(form.querySelector('.clear'), [...parameters.keys()].length === 0);
}

const addOption = (select, value) =>
  select.append(element('option', { value, textContent: value }));

async function readGenres(form, parameters, signal) {
  try {
    const { genres } = await get('titles', { limit: 1 }, { signal });
    const select = form.elements.genre;
    const known = new Set([...select.options].map((option) => option.value));
    genres.filter((genre) => !known.has(genre)).forEach((genre) => addOption(select, genre));
    select.value = parameters.get('genre') ?? '';
    return genres.length > 0;
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    return true;
  }
}

function columns(live, scale) {
  return [
    number((row) => count(row.rank)),
    header({ className: 'title', make: (cell) => titleCell(cell) }),
    text((row) => row.genre ?? DASH, 'genre'),
    { className: 'n momentum', make: (cell) => momentumCell(cell, scale) },
    { className: 'n score', make: (cell) => scoreCell(cell) },
    { className: 'since', make: (cell) => sinceCell(cell, live) },
    number((row) => count(row.plays)),
    number((row) => real(row.expected_plays)),
    { className: 'n rate', make: (cell) => rateCell(cell) },
    spark(),
  ];
}

/** A title can be any text of any direction, so it is isolated. */
function titleCell(cell) {
  const name = element('bdi');
  const a = element('a', {}, name);
  const badge = element('span', { className: 'badge new', textContent: 'new', hidden: true });
  const id = element('span', { className: 'id' });
  cell.append(a, badge, id);
  return (row) => {
    setText(name, row.title ?? row.video_id);
    setAttribute(a, 'href', link('video', row.video_id));
    setAttribute(a, 'title', row.title ?? row.video_id);
    setText(id, row.title ? row.video_id : 'no title');
    const age = row.launched_at ? Date.parse(row.epoch_start) - Date.parse(row.launched_at) : null;
    setHidden(badge, age === null || age > NEW_DAYS * DAY_MS);
  };
}

function momentumCell(cell, scale) {
  const value = element('span', { className: 'value' });
  const bar = element('span', { className: 'bar' });
  cell.append(value, bar);
  return (row) => {
    setText(value, signed(row.momentum));
    bar.style.width = `${Math.min(100, (100 * Math.abs(row.momentum)) / scale.most)}%`;
    cell.classList.toggle('down', row.momentum < 0);
  };
}

function scoreCell(cell) {
  const value = element('span');
  cell.append(value);
  return (row) => {
    setText(value, signed(row.score));
    const far = Math.abs(row.score) >= ALARM;
    value.className = far ? `badge ${row.score > 0 ? 'up' : 'down'}` : '';
  };
}

function sinceCell(cell, live) {
  const time = element('time');
  const age = element('span', { className: 'dim' });
  cell.append(time, ' ', age);
  return (row) => {
    const start = row.since_start;
    const sameDay = start && day(start) === day(row.epoch_start);
    setText(time, start ? (sameDay ? clock(start) : minute(start).slice(5)) : DASH);
    if (start) setAttribute(time, 'datetime', start);
    const end = Date.parse(row.epoch_start) + lengthOf(live);
    setText(age, start ? duration(end - Date.parse(start)) : '');
  };
}

function rateCell(cell) {
  const value = element('span');
  const range = element('span', { className: 'dim' });
  cell.append(value, ' ', range);
  return (row) => {
    setText(value, percent(row.rate));
    setText(range, bounds(row.rate_low, row.rate_high));
  };
}

/** On a phone the rows are cards; with roles they stay a table for a screen reader. */
function giveRoles(table) {
  table.setAttribute('role', 'table');
  table.querySelectorAll('thead, tbody').forEach((part) => part.setAttribute('role', 'rowgroup'));
  table.querySelectorAll('thead tr').forEach((row) => row.setAttribute('role', 'row'));
  table.querySelectorAll('thead th').forEach((cell) => cell.setAttribute('role', 'columnheader'));
}

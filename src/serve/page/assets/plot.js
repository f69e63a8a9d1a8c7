// Plots over time, drawn by uPlot in the colours of the style sheet. Each has a table beside it.
import { element, setText } from './dom.js';
import { DASH } from './format.js';

const FONT = '11px system-ui, sans-serif';
const probe = element('span', { hidden: true });
const plots = new Set();

/** The present value of a colour of the style sheet, as a canvas can read it. */
function colour(name) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

/** Draws all plots anew, when colours have changed. */
export function recolour() {
  plots.forEach((plot) => plot.redraw(false, true));
}

/**
 * A figure in `host`: `title`, `series` of {label, colour, dash, fill, format, quiet}, `band` of
 * two numbers of series, `range(min, max)`, `marks` (values with a line), and `group`, whose plots
 * have one cursor.
 * Gives `set(seconds, columns, provisionalFrom)`.
 */
export function plot(host, options) {
  const caption = element('figcaption', {}, element('strong', { textContent: options.title }));
  const time = element('span', { className: 'when' });
  const shown = options.series.filter((series) => !series.quiet);
  const values = shown.map((series) => keyOf(caption, series));
  caption.append(time);
  const box = element('div', { className: 'plot', role: 'img' });
  host.append(element('figure', {}, caption, box));
  const held = { from: null };
  const read = (u) => readout(u, options, { time, values, shown });
  const drawn = new window.uPlot(settings(options, held, read, box), [[], []], box);
  plots.add(drawn);
  new ResizeObserver(() => drawn.setSize(sizeOf(box))).observe(box);
  return (seconds, columns, provisionalFrom = null) => {
    held.from = provisionalFrom;
    drawn.setData([seconds, ...columns]);
    read(drawn);
    box.setAttribute('aria-label', `Plot: ${options.title}. The table below has its numbers.`);
  };
}

function keyOf(caption, series) {
  const value = element('b', { textContent: DASH });
  const dash = series.dash ? ' dash' : '';
  const swatch = element('i', { className: `swatch ${series.colour}${dash}` });
  caption.append(element('span', { className: 'key' }, swatch, `${series.label} `, value));
  return value;
}

const sizeOf = (box) => ({
  width: Math.max(200, box.clientWidth), height: box.clientHeight || 190,
});

function settings(options, held, read, box) {
  const axis = { stroke: () => colour('dim'), font: FONT, ticks: { show: false } };
  const grid = { stroke: () => colour('grid'), width: 1 };
  return {
    ...sizeOf(box),
    legend: { show: false },
    padding: [8, 8, 0, 0],
    cursor: {
      drag: { x: false, y: false }, y: false, points: { size: 6 },
      sync: options.group ? { key: options.group } : undefined,
    },
    tzDate: (seconds) => window.uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC'),
    scales: { x: { range: wide }, y: { range: (u, min, max) => options.range(min, max, u.data) } },
    series: [{}, ...options.series.map(seriesOf)],
    bands: options.band
      ? [{ series: options.band, fill: () => colour(`${options.series[0].colour}-faint`) }] : [],
    axes: [
      { ...axis, grid: { show: false }, size: 26, space: 64, values: (u, splits) => times(splits) },
      { ...axis, grid, size: 52, space: 36, values: (u, splits) => splits.map(options.format) },
    ],
    hooks: {
      drawClear: [(u) => shade(u, held.from), (u) => mark(u, options.marks ?? [])],
      setCursor: [read],
    },
  };
}

/** A single point has some time around it. */
function wide(u, min, max) {
  const seconds = u.data[0];
  return seconds.length === 1 ? [seconds[0] - 30, seconds[0] + 30] : [min, max];
}

function seriesOf(series) {
  return {
    stroke: series.quiet ? 'transparent' : () => colour(series.colour),
    width: series.quiet ? 0 : 1.6,
    dash: series.dash ? [5, 4] : undefined,
    points: { show: (u, index, first, last) => !series.quiet && first === last, size: 5 },
    fill: series.fill ? () => colour(`${series.colour}-faint`) : undefined,
  };
}

/** Times of the axis in UTC; midnight is its date. */
function times(splits) {
  let last = '';
  return splits.map((seconds) => {
    const iso = new Date(seconds * 1000).toISOString();
    const text = iso.slice(11, 16) === '00:00' ? iso.slice(5, 10) : iso.slice(11, 16);
    const shown = splits.length > 1 && splits[1] - splits[0] < 60 ? iso.slice(11, 19) : text;
    const same = shown === last;
    last = shown;
    return same ? '' : shown;
  });
}

/** Provisional epochs have a tinted ground. */
function shade(u, from) {
  if (from === null || u.data[0].length === 0) return;
  const left = Math.max(u.bbox.left, u.valToPos(from, 'x', true));
  const width = u.bbox.left + u.bbox.width - left;
  if (width <= 0) return;
  u.ctx.save();
  u.ctx.fillStyle = colour('provisional');
  u.ctx.fillRect(left, u.bbox.top, width, u.bbox.height);
  u.ctx.restore();
}

/** Dashed lines at values that mean something. */
function mark(u, marks) {
  u.ctx.save();
  u.ctx.strokeStyle = colour('faint');
  u.ctx.lineWidth = devicePixelRatio;
  u.ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio]);
  for (const value of marks) {
    const y = Math.round(u.valToPos(value, 'y', true)) + 0.5;
    u.ctx.beginPath();
    u.ctx.moveTo(u.bbox.left, y);
    u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
    u.ctx.stroke();
  }
  u.ctx.restore();
}

/** The numbers under the cursor, else the latest. */
function readout(u, options, { time, values, shown }) {
  const seconds = u.data[0];
  const at = u.cursor.idx ?? seconds.length - 1;
  setText(time, at >= 0 ? options.when(seconds[at]) : '');
  shown.forEach((series, index) => {
    const column = u.data[1 + options.series.indexOf(series)] ?? [];
    setText(values[index], at >= 0 ? series.format(column[at], u, at) : DASH);
  });
}

// Rows of a table, by key: a row that stays keeps its nodes, and with them focus and scroll.
import { element, setText } from './dom.js';

const still = matchMedia('(prefers-reduced-motion: reduce)');

/** A column whose cell is one text. */
export function text(value, className = '') {
  return { className, make: (cell) => (row) => setText(cell, value(row)) };
}

/** A column of a number, to the right; zeros are dimmed where `quiet`. */
export function number(value, { quiet = false } = {}) {
  return {
    className: 'n',
    make: (cell) => (row) => {
      const shown = value(row);
      setText(cell, shown);
      if (quiet) cell.classList.toggle('zero', shown === '0');
    },
  };
}

/** A column that heads its row. */
export function header(column) {
  return { ...column, header: true };
}

/**
 * Makes `fill(rows)`, which changes the rows of `body` to `rows`.
 * What was in `body` before (rows from the server) goes with the first call.
 */
export function rowsOf(body, columns, key, { moving = false } = {}) {
  let known = null;
  return (rows) => {
    const first = known === null;
    if (first) {
      body.replaceChildren();
      known = new Map();
    }
    const before = moving && !first && !still.matches && !document.hidden ? tops(known) : null;
    const wanted = rows.map((row) => {
      const name = key(row);
      if (!known.has(name)) known.set(name, newRow(columns));
      known.get(name).update(row);
      return name;
    });
    drop(known, new Set(wanted));
    arrange(body, wanted.map((name) => known.get(name).node));
    if (before) glide(known, before);
  };
}

function newRow(columns) {
  const node = element('tr');
  const updates = columns.map((column) => {
    const cell = element(column.header ? 'th' : 'td');
    if (column.header) cell.scope = 'row';
    if (column.className) cell.className = column.className;
    node.append(cell);
    return column.make(cell);
  });
  return { node, update: (row) => updates.forEach((update) => update(row)) };
}

function drop(known, wanted) {
  for (const [name, { node }] of known) {
    if (wanted.has(name)) continue;
    node.remove();
    known.delete(name);
  }
}

/** Puts `nodes` in order. The one with the focus is never moved: the others move around it. */
function arrange(body, nodes) {
  if (nodes.length === 0) return;
  const focused = nodes.findIndex((node) => node.contains(document.activeElement));
  const anchor = Math.max(0, focused);
  if (nodes[anchor].parentNode !== body) body.prepend(nodes[anchor]);
  for (let at = anchor - 1; at >= 0; at -= 1) {
    if (nodes[at].nextSibling !== nodes[at + 1]) body.insertBefore(nodes[at], nodes[at + 1]);
  }
  for (let at = anchor + 1; at < nodes.length; at += 1) {
    const after = nodes[at - 1].nextSibling;
    if (after !== nodes[at]) body.insertBefore(nodes[at], after);
  }
}

const top = (node) => node.getBoundingClientRect().top;
const tops = (known) => new Map([...known].map(([name, { node }]) => [name, top(node)]));

/** Lets rows glide from where they were. */
function glide(known, before) {
  for (const [name, { node }] of known) {
    const from = before.get(name);
    const by = from === undefined ? 0 : from - top(node);
    if (Math.abs(by) < 1) continue;
    node.animate(
      [{ transform: `translateY(${by}px)` }, { transform: 'none' }],
      { duration: 400, easing: 'cubic-bezier(.2, .7, .2, 1)' },
    );
  }
}

// The ledger: what became of every event.
import { get } from './api.js';
import { setHidden, setText } from './dom.js';
import { count, epochRange } from './format.js';
import { header, number, rowsOf, text } from './rows.js';
import { lengthOf, parts } from './section.js';

const STEP = 90;
const FIELDS = ['events', 'distinct_events', 'duplicate_events', 'late_events', 'future_events',
  'denied_events'];
const KINDS = ['impression', 'play', 'denial'];

export function ledgerView(section, live) {
  const table = section.querySelector('.scroll');
  const more = section.querySelector('.more');
  const { meta, note, links } = parts(section);
  const [sums, body] = section.querySelectorAll('tbody');
  const fillSums = rowsOf(sums, columns(() => 'All epochs'), (row) => row.kind);
  const fill = rowsOf(body, columns((row) => epochText(row, live)),
    (row) => `${row.epoch} ${row.kind}`);
  let limit = STEP;
  more.querySelector('button').addEventListener('click', () => {
    limit += STEP;
    live.changed([], true);
  });

  return {
    interval: 2000,
    title: () => 'Ledger',
    wants: () => true,
    show() {},
    async refresh(signal) {
      links('ledger', {});
      const answer = await get('ledger', {}, { signal });
      const rows = [...answer.rows].sort(newestFirst)
        .map((row, at, all) => ({ ...row, again: at > 0 && all[at - 1].epoch === row.epoch }));
      fillSums(sumsOf(rows));
      fill(rows.slice(0, limit));
      setHidden(table, rows.length === 0);
      setHidden(more, rows.length <= limit);
      note(rows.length ? null : 'No event was read yet.');
      meta(answer, ['by the epoch of the event’s own time']);
    },
    failed(message, bad) {
      setHidden(table, true);
      note(message, bad);
    },
  };
}

/** Events far from the watermark, which have no epoch, come last. */
function newestFirst(a, b) {
  const by = (b.epoch ?? -Infinity) - (a.epoch ?? -Infinity);
  return by || KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind);
}

function sumsOf(rows) {
  return KINDS.map((kind) => {
    const sum = { kind };
    const some = rows.filter((row) => row.kind === kind);
    for (const field of FIELDS) {
      sum[field] = some.reduce((total, row) => total + (row[field] ?? 0), 0);
    }
    return { ...sum, some: some.length };
  }).filter((sum) => sum.some > 0);
}

const epochText = (row, live) => row.epoch === null
  ? 'far from the watermark' : epochRange(row.epoch_start, lengthOf(live));

/** An epoch that the row above has too is dimmed. */
function epochCell(cell, epoch) {
  return (row) => {
    setText(cell, epoch(row));
    cell.classList.toggle('again', row.again === true);
  };
}

function columns(epoch) {
  return [
    header({ make: (cell) => epochCell(cell, epoch) }),
    text((row) => row.kind),
    ...FIELDS.map((field) => number((row) => count(row[field]), { quiet: true })),
  ];
}

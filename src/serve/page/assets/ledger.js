// The ledger: what became of every event.
import { get } from './api.js';
import { setHidden, setText } from './dom.js';
import { count, epochRange } from './format.js';
import { header, number, rowsOf, text } from './rows.js';
import { lengthOf, moreRows, parts } from './section.js';

const STEP = 90;
/** Some 20 days. */
const LIMIT = 3000;
const FIELDS = ['events', 'distinct_events', 'duplicate_events', 'late_events', 'future_events',
  'denied_events'];
const KINDS = ['impression', 'play', 'denial'];

export function ledgerView(section, live) {
  const table = section.querySelector('.scroll');
  const more = moreRows(section, STEP, () => live.changed([], true));
  const { meta, note, links } = parts(section);
  const [sums, body] = section.querySelectorAll('tbody');
  const fillSums = rowsOf(sums, columns((row) => row.of), (row) => row.kind);
  const fill = rowsOf(body, columns((row) => epochText(row, live)),
    (row) => `${row.epoch} ${row.kind}`);

  return {
    interval: 2000,
    title: () => 'Ledger',
    wants: () => true,
    show() {},
    async refresh(signal) {
      links('ledger', { limit: LIMIT });
      const answer = await get('ledger', { limit: LIMIT }, { signal });
      const rows = [...answer.rows].sort(newestFirst)
        .map((row, at, all) => ({ ...row, again: at > 0 && all[at - 1].epoch === row.epoch }));
      fillSums(sumsOf(rows, answer.total > rows.length ? 'These epochs' : 'All epochs'));
      fill(rows.slice(0, more.limit()));
      setHidden(table, rows.length === 0);
      more.show(rows.length > more.limit());
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

function sumsOf(rows, of) {
  return KINDS.map((kind) => {
    const sum = { kind, of };
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

// The epochs: what they hold, whether they are final, and how complete they are.
import { get } from './api.js';
import { element, setHidden, setText } from './dom.js';
import { DASH, bounds, count, epochRange, minute, percent } from './format.js';
import { link } from './route.js';
import { header, number, rowsOf } from './rows.js';
import { lengthOf, moreRows, parts, stateColumn } from './section.js';

const STEP = 50;

export function epochsView(section, live) {
  const table = section.querySelector('.scroll');
  const more = moreRows(section, STEP, () => live.changed([], true));
  const { meta, note, links } = parts(section);
  const fill = rowsOf(section.querySelector('tbody'), columns(live), (row) => row.epoch);

  return {
    interval: 1000,
    title: () => 'Epochs',
    wants: () => true,
    show() {},
    async refresh(signal) {
      const limit = more.limit();
      links('epochs', { limit });
      const answer = await get('epochs', { limit }, { signal });
      fill(answer.rows);
      setHidden(table, answer.rows.length === 0);
      more.show(answer.rows.length < answer.total);
      note(answer.rows.length ? null : 'No epoch has rows yet.');
      const open = answer.rows.filter((row) => !row.final).length;
      meta(answer, [`${count(open)} provisional`, finalText(answer),
        `${count(answer.rows.length)} of ${count(answer.total)}`]);
    },
    failed(message, bad) {
      setHidden(table, true);
      note(message, bad);
    },
  };
}

function finalText(answer) {
  if (answer.finished) return 'every epoch is final';
  return answer.final_through ? `final through ${minute(answer.final_through)}` : 'none is final';
}

function columns(live) {
  return [
    header({ make: (cell) => epochCell(cell, live) }),
    stateColumn(),
    number((row) => count(row.impressions)),
    number((row) => count(row.plays)),
    number((row) => (row.impressions ? percent(row.plays / row.impressions) : DASH)),
    number((row) => count(row.videos)),
    { className: 'n complete', make: (cell) => completeCell(cell, 'impressions') },
    { className: 'n complete', make: (cell) => completeCell(cell, 'plays') },
    number((row) => count(row.publication)),
  ];
}

function epochCell(cell, live) {
  const a = element('a');
  cell.append(a);
  return (row) => {
    setText(a, epochRange(row.epoch_start, lengthOf(live)));
    a.href = link('trending', '', { epoch: String(row.epoch) });
    a.title = 'What trended in this epoch';
  };
}

/** A share with its 90 % interval, what was not read yet, and a bar. */
function completeCell(cell, kind) {
  const value = element('span');
  const detail = element('span', { className: 'dim' });
  const bar = element('span', { className: 'share' }, element('span'));
  cell.append(value, ' ', detail, bar);
  return (row) => {
    const given = row.completeness?.[kind];
    const known = given && given.share !== null && given.share !== undefined;
    setText(value, known ? percent(given.share) : row.final && !given ? DASH : 'unknown');
    setText(detail, [known ? bounds(given.share_low, given.share_high) : '',
      given?.unread ? `${count(given.unread)} unread` : ''].filter(Boolean).join(' · '));
    setHidden(bar, !known);
    if (known) bar.firstChild.style.width = `${100 * given.share}%`;
  };
}

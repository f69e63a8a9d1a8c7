// What all views have in common: a heading with what the numbers are of, notes, links, states.
import { address } from './api.js';
import { element, setAttribute, setHidden, setText } from './dom.js';
import { count } from './format.js';

/** The parts of a view's section. */
export function parts(section) {
  const meta = section.querySelector('.meta');
  const note = section.querySelector('.note');
  return {
    /** Says what the numbers are of, with the publication that they come from. */
    meta(answer, texts) {
      setText(meta, [...texts, `publication ${count(answer.publication)}`].join(' · '));
      setAttribute(section, 'data-publication', String(answer.publication));
    },
    /** Shows a sentence; nothing hides it. */
    note(text, bad = false) {
      setText(note, text ?? '');
      note.classList.toggle('bad', bad);
      setHidden(note, !text);
    },
    /** The same numbers, from the API. */
    links(path, parameters, json = path) {
      for (const a of section.querySelectorAll('[data-link]')) {
        const csv = a.dataset.link === 'csv';
        setAttribute(a, 'href', address(csv ? `${path}.csv` : json, parameters));
        a.parentNode.hidden = false;
      }
    },
  };
}

/** A button for more rows: `limit()` of them are wanted; `show` it if there are more. */
export function moreRows(section, step, ask) {
  const more = section.querySelector('.more');
  let limit = step;
  more.querySelector('button').addEventListener('click', () => {
    limit += step;
    ask();
  });
  return { limit: () => limit, show: (there) => setHidden(more, !there) };
}

/** A column that says whether the row is final. */
export function stateColumn(isFinal = (row) => row.final) {
  return {
    className: 'state-cell',
    make: (cell) => {
      const badge = element('span');
      cell.append(badge);
      return (row) => {
        const final = isFinal(row);
        setText(badge, final ? 'final' : 'provisional');
        badge.className = final ? 'badge final' : 'badge provisional';
      };
    },
  };
}

/** The epoch of a row, with the length of epochs that the job has. */
export const lengthOf = (live) => live.job?.epoch_length_ms ?? 1_800_000;

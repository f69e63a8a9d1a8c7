// The status line: how fresh the numbers are, and how far the job has come.
import { setHidden, setText } from './dom.js';
import { DASH, count, duration, instant, lag, minute } from './format.js';

const byId = (id) => document.getElementById(id);

const NAMES = {
  connecting: 'Connecting', live: 'Live', reconnecting: 'Reconnecting', stale: 'Stale',
  paused: 'Paused', ended: 'Job ended',
};
/** A screen reader hears of changes of the state only, and not more often than this. */
const ANNOUNCE_MS = 5000;

let announced = { text: '', at: 0 };

/** Shows the state of `live`, and what it says, at the top of the page. */
export function showStatus(live) {
  const { state } = live;
  const replaying = state === 'live' && live.job?.state === 'replaying';
  const name = replaying ? 'Live, replaying' : NAMES[state];
  document.documentElement.dataset.state = state;
  setText(byId('state'), name);
  showNumbers(live);
  showAlarm(live, state);
  announce(name);
}

function showNumbers(live) {
  const age = live.publishedAt === null ? '' : ` · ${duration(Date.now() - live.publishedAt)} ago`;
  setText(byId('s-publication'), count(live.publication) + age);
  setText(byId('s-watermark'), instant(live.watermark) + behind(live.watermark));
  setText(byId('s-final'), live.finished ? 'every epoch' : minute(live.finalThrough));
  setText(byId('s-rate'), live.state === 'live' ? count(live.job?.events_per_second) : DASH);
  setText(byId('s-lag'), lag(live.job));
  setText(byId('s-generation'), count(live.generation));
  setText(byId('version'), live.job?.version ?? '');
}

function behind(watermark) {
  if (!watermark) return '';
  const ms = Date.now() - Date.parse(watermark);
  return ms < 0 ? ' · ahead of the clock' : ` · ${duration(ms)} ago`;
}

function showAlarm(live, state) {
  const lost = state === 'reconnecting' || state === 'stale';
  const alarm = byId('alarm');
  setHidden(alarm, !lost && !(state === 'ended' && live.connection === 'lost'));
  if (alarm.hidden) return;
  const since = duration(Date.now() - live.lostAt);
  const wait = Math.max(0, live.nextTryAt - Date.now());
  const next = wait > 500 ? `next try in ${duration(wait + 500)}` : 'trying now';
  const what = state === 'ended'
    ? `The job has ended, and its server with it, ${since} ago.`
    : `The event stream was lost ${since} ago; ${next}.`;
  setText(alarm.querySelector('p'), `${what} ${asOf(live)}`);
}

function asOf(live) {
  if (live.publication === null) return 'Nothing was read yet.';
  const age = live.publishedAt === null ? '' : `, ${duration(Date.now() - live.publishedAt)} old`;
  return `The numbers are of publication ${count(live.publication)}${age}.`;
}

function announce(text) {
  if (text === announced.text || Date.now() - announced.at < ANNOUNCE_MS) return;
  announced = { text, at: Date.now() };
  setText(byId('announce'), text);
}

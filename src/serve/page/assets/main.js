// Starts the page: shows the view that the address names, and keeps it up to date.
import { Refused } from './api.js';
import { setAttribute, setText } from './dom.js';
import { epochsView } from './epochs.js';
import { jobView } from './job.js';
import { ledgerView } from './ledger.js';
import { Live } from './live.js';
import { recolour } from './plot.js';
import { Refresher } from './refresher.js';
import { parse } from './route.js';
import { showStatus } from './status.js';
import { startTheme } from './theme.js';
import { saveWithToken } from './token.js';
import { trendingView } from './trending.js';
import { videoView } from './video.js';

const root = document.documentElement;
const refresher = new Refresher(failed);
const live = new Live({ changed, status });
const make = {
  trending: trendingView, video: videoView, epochs: epochsView, ledger: ledgerView, job: jobView,
};
const views = Object.fromEntries(Object.entries(make)
  .map(([name, build]) => [name, build(document.getElementById(name), live)]));
let route = null;

function changed(names, all) {
  const view = views[route.view];
  if (all || view.wants(names)) refresher.ask();
}

function status() {
  showStatus(live);
  if (live.state === 'live') views[route.view].tick?.();
  nameDocument();
}

/** Says why the view cannot be shown. Without a server, what is shown stays. */
function failed(error) {
  const view = views[route.view];
  if (error instanceof Refused) view.failed(error.message, error.status !== 404);
  else if (!refresher.succeeded) view.failed('The server cannot be reached.', true);
}

function nameDocument() {
  const lost = live.state === 'stale' ? '⚠ stale: ' : '';
  const title = `${lost}${views[route.view].title()} – trendmark`;
  if (document.title !== title) document.title = title;
}

function showRoute() {
  const before = route;
  route = parse(location.hash);
  root.dataset.view = route.view;
  document.querySelectorAll('nav a').forEach((a) => markCurrent(a, route.view));
  views[route.view].show(route);
  refresher.show(views[route.view]);
  nameDocument();
  if (before && (before.view !== route.view || before.id !== route.id)) enter();
}

function markCurrent(a, view) {
  if (a.hash === `#${view}`) setAttribute(a, 'aria-current', 'page');
  else a.removeAttribute('aria-current');
}

/** A new view starts at its heading, for the keyboard and for screen readers. */
function enter() {
  scrollTo(0, 0);
  document.querySelector(`#${route.view} h2`).focus({ preventScroll: true });
}

function startPause() {
  const button = document.getElementById('pause');
  button.hidden = false;
  button.addEventListener('click', () => {
    live.setPaused(!live.paused);
    refresher.hold(live.paused);
    setText(button, live.paused ? 'Resume' : 'Pause');
  });
}

/** Skips to the heading of the view. The address stays that of the view. */
function skip(event) {
  event.preventDefault();
  document.querySelector(`#${route.view} h2`).focus();
}

function start() {
  document.querySelector('.status .plain').hidden = true;
  for (const node of document.querySelectorAll('.status .state, .status dl')) node.hidden = false;
  document.querySelector('#alarm button').addEventListener('click', () => live.stream.hurry());
  document.querySelector('.skip').addEventListener('click', skip);
  document.addEventListener('click', saveWithToken);
  startPause();
  startTheme(document.getElementById('theme'), recolour);
  addEventListener('hashchange', showRoute);
  document.addEventListener('visibilitychange', () => refresher.ask());
  live.start();
  showRoute();
}

start();

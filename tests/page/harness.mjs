// The browser, and what each check is given.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const BROWSERS = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome'];

export const SIZES = {
  light: { viewport: { width: 1360, height: 860 }, colorScheme: 'light' },
  dark: { viewport: { width: 1360, height: 860 }, colorScheme: 'dark' },
  phone: { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true },
};

export function launch() {
  const executablePath = BROWSERS.find((path) => path && existsSync(path));
  if (!executablePath) throw new Error('no Chromium: install it, or set CHROMIUM to its path');
  return chromium.launch({ executablePath, args: ['--no-sandbox'] });
}

/** The check does not apply to this server. */
export class Skipped extends Error {}

export function assert(holds, what) {
  if (!holds) throw new Error(what);
}

export function assertSame(found, wanted, what) {
  assert(found === wanted, `${what}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
}

/** Waits until `get` gives something true. */
export async function until(what, get, ms = 3000) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await get();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${ms / 1000} s: ${what}`);
    await sleep(50);
  }
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** One server: its address, its API, and pages that it is open in. */
export class Site {
  constructor(browser, url, options) {
    this.browser = browser;
    this.url = url;
    this.options = options;
  }

  async get(path) {
    const response = await fetch(new URL(`api/v1/${path}`, this.url), {
      headers: this.options.token ? { Authorization: `Bearer ${this.options.token}` } : {},
    });
    return { status: response.status, body: await response.json() };
  }

  /** A page whose errors, and requests to elsewhere, fail the check that uses it. */
  async open(hash = '', size = SIZES.light, url = this.url) {
    const context = await this.browser.newContext(size);
    const page = await context.newPage();
    page.problems = [];
    page.answers = new Map();
    page.on('pageerror', (error) => page.problems.push(`error: ${error.message}`));
    page.on('console', (message) => {
      const expected = page.refusals && /Failed to load resource/.test(message.text());
      if (message.type() === 'error' && !expected) page.problems.push(message.text());
    });
    page.on('request', (request) => {
      if (/^https?:/.test(request.url()) && !request.url().startsWith(new URL(url).origin)) {
        page.problems.push(`request to ${request.url()}`);
      }
    });
    page.on('response', (response) => keep(page, response));
    if (this.options.token) await this.giveToken(context);
    await page.goto(url + hash);
    return page;
  }

  giveToken(context) {
    return context.addInitScript((token) => sessionStorage.setItem('trendmark-token', token),
      this.options.token);
  }

  async close(page) {
    const { problems } = page;
    await page.context().close();
    assert(problems.length === 0, `the page reports: ${problems.join(' | ')}`);
  }

  /** Runs `check` in a page. */
  async with(hash, size, check, url) {
    const page = await this.open(hash, size, url);
    try {
      await check(page);
    } finally {
      page.done = true;
      await this.close(page);
    }
  }

  /** The video that most rows are of, in any job that has rows. */
  async video() {
    const { body } = await this.get('queries/trends/rows?limit=1&order=-impressions');
    const [row] = body.rows ?? [];
    if (row) return row.video_id;
    const { body: trending } = await this.get('trending?limit=1');
    if (!trending.rows?.length) throw new Skipped('the store has no rows');
    return trending.rows[0].video_id;
  }

  async views() {
    const video = await this.video();
    return { trending: '#trending', video: `#video/${video}`, find: '#video?search=e',
      epochs: '#epochs', ledger: '#ledger', job: '#job' };
  }

  async runsTrending() {
    return (await this.get('trending?limit=1')).status === 200;
  }
}

/** Keeps the JSON answers that the page was given, by path and publication. */
async function keep(page, response) {
  const { pathname } = new URL(response.url());
  if (!pathname.includes('/api/v1/') || pathname.endsWith('/events')) return;
  if (response.status() === 404) page.refusals = true;
  try {
    const body = await response.json();
    const name = decodeURIComponent(pathname.split('/api/v1/')[1]);
    page.answers.set(`${name} ${body.publication}`, body);
  } catch {
    // The page was closed, or went on to another view.
  }
}

/** Pauses the page, and waits until what it was reading is shown. */
export async function pause(page) {
  await page.click('#pause');
  await page.waitForFunction(() => document.documentElement.dataset.state === 'paused');
  await sleep(600);
}

export async function shown(page, view) {
  await page.waitForSelector(`#${view}[data-publication], #${view} .note:not([hidden])`);
}

// Live updates: they arrive, and leave alone what a person is doing.
import { SIZES, Skipped, assert, assertSame, sleep, until } from './harness.mjs';
import { Proxy } from './proxy.mjs';

const state = (page) => page.evaluate(() => document.documentElement.dataset.state);
const publication = (page, view) =>
  page.evaluate((id) => Number(document.getElementById(id).dataset.publication), view);
const isLive = (page) =>
  until('the page is live', async () => (await state(page)) === 'live', 10_000);

async function needsPublications(site) {
  const before = (await site.get('job')).body;
  if (before.finished || site.options.still) throw new Skipped('the job publishes nothing');
}

export async function updatesKeepTheNodes(site) {
  await needsPublications(site);
  for (const view of ['epochs', 'ledger', ...(await site.runsTrending() ? ['trending'] : [])]) {
    await site.with(`#${view}`, SIZES.light, (page) => updatesOf(page, view));
  }
}

/** A changed number within 3 s, and each row that stays is the same node. */
async function updatesOf(page, view) {
  await isLive(page);
  await page.waitForSelector(`#${view} tbody tr`);
  await sleep(1500);
  const before = await publication(page, view);
  await page.evaluate((id) => {
    const rows = [...document.querySelectorAll(`#${id} tbody tr`)];
    window.rowsBefore = new Map(rows.map((row) => [row.querySelector('th').textContent
      + row.cells[1].textContent.replace(/final|provisional/, ''), row]));
    window.textBefore = rows.map((row) => row.textContent).join('\n');
  }, view);
  await until(`a changed number in ${view}`, () => page.evaluate((id) => {
    const rows = [...document.querySelectorAll(`#${id} tbody tr`)];
    return rows.map((row) => row.textContent).join('\n') !== window.textBefore;
  }, view));
  assert(await publication(page, view) > before, `${view} says a later publication`);
  const replaced = await page.evaluate((id) => [...document.querySelectorAll(`#${id} tbody tr`)]
    .filter((row) => {
      const known = window.rowsBefore.get(row.querySelector('th').textContent
        + row.cells[1].textContent.replace(/final|provisional/, ''));
      return known && known !== row;
    }).length, view);
  assertSame(replaced, 0, `rows of ${view} with new nodes`);
}

export async function focusScrollAndSelectionStay(site) {
  await needsPublications(site);
  await site.with('#epochs', SIZES.light, async (page) => {
    await isLive(page);
    await page.waitForSelector('#epochs tbody tr:nth-child(3)');
    await sleep(1000);
    await page.evaluate(() => {
      scrollTo(0, 140);
      window.focusedBefore = document.querySelector('#epochs tbody tr:nth-child(2) a');
      window.focusedBefore.focus({ preventScroll: true });
    });
    const before = await publication(page, 'epochs');
    const two = async () => (await publication(page, 'epochs')) >= before + 2;
    await until('two publications', two, 9000);
    const kept = await page.evaluate(() => ({
      focus: document.activeElement === window.focusedBefore, scroll: scrollY,
      top: Math.min(140, document.documentElement.scrollHeight - innerHeight),
    }));
    assert(kept.focus, 'the focus stays');
    assertSame(kept.scroll, Math.max(0, kept.top), 'scrolled to');
    await selectionStays(page);
  });
}

async function selectionStays(page) {
  const selected = await page.evaluate(() => {
    document.activeElement.blur();
    const cell = document.querySelector('#epochs tbody tr td:nth-child(3)');
    getSelection().selectAllChildren(cell);
    return getSelection().toString();
  });
  await sleep(2500);
  assertSame(await page.evaluate(() => getSelection().toString()), selected, 'selected text');
  const before = await publication(page, 'epochs');
  await page.evaluate(() => getSelection().removeAllRanges());
  await until('updates go on', async () => (await publication(page, 'epochs')) > before);
}

export async function aHiddenTabAsksNothing(site) {
  await needsPublications(site);
  await site.with('#epochs', SIZES.light, async (page) => {
    await isLive(page);
    await page.evaluate(() => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => window.away });
      window.away = true;
      document.dispatchEvent(new Event('visibilitychange'));
    });
    await sleep(800);
    let asked = 0;
    page.on('request', () => { asked += 1; });
    await sleep(3000);
    assertSame(asked, 0, 'requests of a hidden tab');
    const before = await publication(page, 'epochs');
    await page.evaluate(() => {
      window.away = false;
      document.dispatchEvent(new Event('visibilitychange'));
    });
    await until('updates go on', async () => (await publication(page, 'epochs')) > before, 4000);
  });
}

export async function pausedMeansPaused(site) {
  await needsPublications(site);
  await site.with('#epochs', SIZES.light, async (page) => {
    await isLive(page);
    await page.click('#pause');
    assertSame(await state(page), 'paused', 'state');
    await sleep(700);
    const before = await publication(page, 'epochs');
    await sleep(2500);
    assertSame(await publication(page, 'epochs'), before, 'publication while paused');
    await page.click('#pause');
    await until('updates go on', async () => (await publication(page, 'epochs')) > before, 4000);
  });
}

/** Few motions are no motions, for those who ask for none. */
export async function reducedMotionMovesNothing(site) {
  await needsPublications(site);
  if (!await site.runsTrending()) throw new Skipped('the job does not run `trending`');
  await site.with('#trending', { ...SIZES.light, reducedMotion: 'reduce' }, async (page) => {
    await isLive(page);
    for (let tries = 0; tries < 30; tries += 1) {
      assertSame(await page.evaluate(() => document.getAnimations().length), 0, 'animations');
      await sleep(100);
    }
  });
}

export async function itReconnects(site) {
  const proxy = new Proxy(site.url);
  await proxy.start();
  const page = await site.open('#epochs', SIZES.light, proxy.url);
  try {
    await isLive(page);
    await page.waitForSelector('#epochs tbody tr');
    await page.evaluate(() => { window.sameDocument = true; });
    await proxy.stop();
    page.refusals = true;
    await until('the loss is shown', async () => (await state(page)) === 'reconnecting'
      && page.isVisible('#alarm'), 4000);
    await until('it is stale', async () => (await state(page)) === 'stale', 15_000);
    assert(/lost \d+ s ago/.test(await page.textContent('#alarm p')), 'the alarm says since when');
    assert(await page.isVisible('#epochs tbody tr'), 'the numbers stay');
    await proxy.start();
    await page.click('#alarm button');
    await isLive(page);
    assert(!await page.isVisible('#alarm'), 'the alarm goes');
    assert(await page.evaluate(() => window.sameDocument), 'the page was not loaded again');
    if (!site.options.still) await grows(page);
  } finally {
    page.problems = page.problems.filter((problem) => !/ERR_|Failed to load/.test(problem));
    await site.close(page);
    await proxy.stop();
  }
}

async function grows(page) {
  const before = await publication(page, 'epochs');
  await until('updates go on', async () => (await publication(page, 'epochs')) > before, 5000);
}

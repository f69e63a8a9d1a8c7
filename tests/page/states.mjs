// States that a server is seldom in: the answers are made up.
import { SCORE } from '../../src/serve/page/assets/units.js';
import { SIZES, assert, assertSame, shown, until } from './harness.mjs';

const HOSTILE = '<img src=x onerror="document.title=1"><script>throw 1</script> \u202Ertl';

/** Opens a view whose answers of `path` are changed by `change`. */
async function madeUp(site, hash, path, change, check) {
  const page = await site.open('#ledger', SIZES.light);
  try {
    await page.route(new RegExp(`/api/v1/${path}(\\?|$)`), async (route) => {
      const made = await change();
      await route.fulfill({ status: made.status ?? 200, json: made });
    });
    await page.evaluate((to) => { location.hash = to; }, hash);
    await shown(page, hash.slice(1).split(/[?/]/)[0]);
    await check(page);
    await page.unrouteAll({ behavior: 'ignoreErrors' });
  } finally {
    await site.close(page);
  }
}

const envelope = (rows) => ({ publication: 7, generation: 1, watermark: '2026-01-01T02:10:00Z',
  final_through: null, finished: false, positions: {}, rows, total: rows.length });

const EPOCH = { epoch: 981796, epoch_start: '2026-01-01T02:00:00Z',
  epoch_end: '2026-01-01T02:30:00Z', final: false, publication: 7,
  impressions: 1200, plays: 90, videos: 3 };

const TREND = { ...EPOCH, rank: 1, video_id: '18446744073709551615', title: HOSTILE, genre: HOSTILE,
  launched_at: null, expected_plays: 31.25 / SCORE, score: -4.04 / SCORE, momentum: 5.5 / SCORE,
  since: null,
  since_start: null, rate: null, rate_low: null, rate_high: null, spark: [] };

export function textIsNeverMarkup(site) {
  return madeUp(site, '#trending', 'trending', () => envelope([TREND]), async (page) => {
    await page.waitForSelector('#trending tbody bdi');
    assertSame(await page.textContent('#trending tbody bdi'), HOSTILE, 'the title as text');
    assertSame(await page.locator('#trending tbody img, #trending tbody script').count(), 0,
      'elements from a title');
    const cells = await page.locator('#trending tbody td').allInnerTexts();
    assertSame(cells[3].trim(), '−4.0', 'the score');
    assertSame(cells[7].trim(), '–', 'a take rate that is unknown');
    assertSame(await page.getAttribute('#trending tbody a', 'href'), `#video/${TREND.video_id}`,
      'the id keeps its digits');
  });
}

export function aJobWithoutTrendingSaysSo(site) {
  const error = 'this job does not run `trending`: start it with `--query trending`';
  return madeUp(site, '#trending', 'trending', () => ({ error, status: 404 }), async (page) => {
    await until('the reason', async () => (await page.innerText('#trending .note')) === error);
    assert(!await page.isVisible('#trending table'), 'no empty table');
  });
}

export function anEmptyStoreSaysSo(site) {
  const empty = () => ({ ...envelope([]), watermark: null });
  return madeUp(site, '#epochs', 'epochs', empty, async (page) => {
    await until('a sentence', () => page.isVisible('#epochs .note'));
    assertSame(await page.innerText('#epochs .note'), 'No epoch has rows yet.', 'the note');
  });
}

export function unknownIsNotZero(site) {
  const unknown = { seen: 900, unread: 12, share: null, share_low: null, share_high: null };
  const row = { ...EPOCH, completeness: { impressions: unknown,
    plays: { seen: 80, unread: 0, share: 0.972, share_low: 0.958, share_high: 0.984 } } };
  return madeUp(site, '#epochs', 'epochs', () => envelope([row]), async (page) => {
    await until('the row', async () => (await page.locator('#epochs tbody tr').count()) === 1);
    const cells = await page.locator('#epochs tbody tr > *').allInnerTexts();
    assertSame(cells[6].trim(), 'unknown 12 unread', 'completeness that is unknown');
    assertSame(cells[7].trim().replace(/\s+/g, ' '), '97.2 % 95.8–98.4', 'completeness, known');
  });
}

export function unknownLagIsADash(site) {
  const row = { topic: 'plays', partition: 'plays/0', next_offset: 5, watermark: null, idle: false,
    malformed: 0, lag_records: null, lag_bytes: null, lost: '{"from":1}' };
  return madeUp(site, '#job', 'partitions', () => envelope([row]), async (page) => {
    await page.waitForSelector('#job .partitions tr');
    const cells = await page.locator('#job .partitions tr > *').allInnerTexts();
    assertSame(cells.slice(3, 6).map((cell) => cell.trim()).join(), '–,–,–', 'what is unknown');
    assertSame(cells[8], '{"from":1}', 'what is lost');
  });
}

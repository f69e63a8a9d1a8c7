// The numbers on the page are those of the API, of the same publication, and of the store.
import { execFileSync } from 'node:child_process';
import { inUnits } from '../../src/serve/page/assets/units.js';
import { SIZES, Skipped, assert, assertSame, pause, shown } from './harness.mjs';

const DASH = '–';

function parse(text) {
  return Number(text.replace(/[,%\s\u202f+]/g, '').replace('−', '-'));
}

/** `text` is `value`, rounded to its last digit. */
function same(text, value, what, scale = 1) {
  if (value === null || value === undefined) {
    assertSame(text, DASH, what);
    return;
  }
  const digits = /\.(\d+)/.exec(text)?.[1].length ?? 0;
  const off = Math.abs(parse(text) - value * scale);
  assert(off <= 0.5 * 10 ** -digits + 1e-6, `${what}: ${text}, not ${value * scale}`);
}

/** A share with bounds, as `22.6 % 20.4–25.0`. */
function sameShare(text, [value, low, high], what) {
  const [share, rest = ''] = text.split('%');
  same(share || text, value, what, 100);
  if (value === null || low === null || low === undefined) return;
  const [from, to] = rest.trim().split('–');
  same(from, low, `${what}, low`, 100);
  same(to, high, `${what}, high`, 100);
}

const table = (page, selector) => page.$$eval(`${selector} tr`, (rows) => rows.map((row) =>
  [...row.cells].map((cell) => cell.innerText.trim().replace(/\s+/g, ' '))));

/** The rows that a view shows, and the answer that they are from. */
async function read(site, view, path, selector, check) {
  await site.with(`#${view}`, SIZES.light, async (page) => {
    await shown(page, view.split(/[?/]/)[0]);
    await page.waitForTimeout(1500);
    await pause(page);
    const section = view.split(/[?/]/)[0];
    const publication = await page.getAttribute(`#${section}`, 'data-publication');
    const answer = page.answers.get(`${path} ${publication}`);
    assert(answer, `the page has an answer of ${path} of publication ${publication}`);
    await check(await table(page, selector), answer, page);
  });
}

export async function trendingIsThatOfTheApi(site) {
  if (!await site.runsTrending()) throw new Skipped('the job does not run `trending`');
  await read(site, 'trending', 'trending', '#trending tbody', (rows, answer) => {
    if (answer.rows.length === 0) throw new Skipped('no row trends');
    assertSame(rows.length, answer.rows.length, 'rows');
    rows.forEach((cells, at) => trendingRow(cells, inUnits(answer.rows[at])));
  });
}

function trendingRow(cells, row) {
  const what = `video ${row.video_id}`;
  same(cells[0], row.rank, `${what}: rank`);
  const title = (row.title ?? row.video_id).trim().replace(/\s+/g, ' ');
  assert(cells[1].startsWith(title), `${what}: title ${cells[1]}`);
  assertSame(cells[2], row.genre ?? DASH, `${what}: genre`);
  same(cells[3], row.momentum, `${what}: momentum`);
  same(cells[4], row.score, `${what}: score`);
  const since = row.since_start ? row.since_start.slice(11, 16) : DASH;
  assert(cells[5].includes(since), `${what}: since ${cells[5]}`);
  same(cells[6], row.plays, `${what}: plays`);
  same(cells[7], row.expected_plays, `${what}: expected`);
  sameShare(cells[8], [row.rate, row.rate_low, row.rate_high], `${what}: take rate`);
}

export function epochsAreThoseOfTheApi(site) {
  return read(site, 'epochs', 'epochs', '#epochs tbody', (rows, answer) => {
    assertSame(rows.length, answer.rows.length, 'epochs');
    rows.forEach((cells, at) => epochRow(cells, answer.rows[at]));
  });
}

function epochRow(cells, row) {
  const what = `epoch ${row.epoch_start}`;
  assert(cells[0].startsWith(row.epoch_start.slice(0, 16).replace('T', ' ')), what);
  assertSame(cells[1], row.final ? 'final' : 'provisional', what);
  same(cells[2], row.impressions, `${what}: impressions`);
  same(cells[3], row.plays, `${what}: plays`);
  same(cells[4], row.impressions ? row.plays / row.impressions : null, `${what}: rate`, 100);
  same(cells[5], row.videos, `${what}: videos`);
  for (const [at, kind] of [[6, 'impressions'], [7, 'plays']]) {
    const { share, share_low: low, share_high: high } = row.completeness?.[kind] ?? {};
    if (typeof share === 'number') sameShare(cells[at].split(' · ')[0], [share, low, high], what);
    else assert(new RegExp(`^(unknown|${row.final ? DASH : 'unknown'})`).test(cells[at]), what);
  }
  same(cells[8], row.publication, `${what}: publication`);
}

const LEDGER = ['events', 'distinct_events', 'duplicate_events', 'late_events', 'future_events',
  'denied_events'];

export async function theLedgerIsThatOfTheApi(site) {
  await read(site, 'ledger', 'ledger', '#ledger tbody:not(.sums)', async (rows, answer, page) => {
    for (const cells of rows) {
      const row = answer.rows.find((one) => one.kind === cells[1] && startOf(one) === cells[0]
        .split(/(?<=:\d\d)–/)[0]);
      assert(row, `the ledger has ${cells[0]} ${cells[1]}`);
      LEDGER.forEach((field, at) => same(cells[2 + at], row[field], `${cells[0]} ${field}`));
    }
    for (const cells of await table(page, '#ledger .sums')) {
      const some = answer.rows.filter((row) => row.kind === cells[1]);
      LEDGER.forEach((field, at) => same(cells[2 + at],
        some.reduce((sum, row) => sum + (row[field] ?? 0), 0), `all ${cells[1]} ${field}`));
    }
  });
}

const startOf = (row) => row.epoch_start
  ? row.epoch_start.slice(0, 16).replace('T', ' ') : 'far from the watermark';

export function partitionsAreThoseOfTheApi(site) {
  return read(site, 'job', 'partitions', '#job .partitions', (rows, answer) => {
    assertSame(rows.length, answer.rows.length, 'partitions');
    rows.forEach((cells, at) => {
      const row = answer.rows[at];
      assertSame(cells[0], String(row.partition), 'partition');
      assertSame(cells[1], row.topic, 'log');
      same(cells[2], row.next_offset, `${row.partition}: next offset`);
      same(cells[3], row.lag_records, `${row.partition}: lag`);
      if (row.lag_bytes === null) assertSame(cells[4], DASH, `${row.partition}: lag in bytes`);
      same(cells[7], row.malformed, `${row.partition}: malformed`);
      assertSame(cells[8], row.lost ?? DASH, `${row.partition}: lost`);
    });
  });
}

export async function aVideoIsThatOfTheApi(site) {
  const video = await site.video();
  await read(site, `video/${video}`, `videos/${video}`, '#video tbody', async (_, answer, page) => {
    await page.evaluate(() => { document.querySelector('#video details').open = true; });
    const rows = await table(page, '#video tbody');
    assertSame(rows.length, answer.rows.length, 'epochs of the video');
    rows.forEach((cells, at) => {
      const row = inUnits(answer.rows.at(-1 - at));
      same(cells[2], row.plays, `${row.epoch_start}: plays`);
      same(cells[3], row.expected_plays, `${row.epoch_start}: expected`);
      same(cells[4], row.impressions, `${row.epoch_start}: impressions`);
      sameShare(cells[5], [row.rate, row.rate_low, row.rate_high], `${row.epoch_start}: rate`);
      same(cells[6], row.score, `${row.epoch_start}: score`);
      same(cells[7], row.momentum, `${row.epoch_start}: momentum`);
    });
  });
}

/** Final epochs do not change, so they are the same in the store whenever it is read. */
export async function finalEpochsAreThoseOfTheStore(site) {
  if (!site.options.store) throw new Skipped('no store was given');
  const sums = new Map(query(site.options.store, `SELECT epoch_start, sum(impressions), sum(plays),
    count(*) FROM trends WHERE final GROUP BY epoch_start`).map(([start, ...rest]) =>
    [start.slice(0, 16).replace('T', ' '), rest]));
  await read(site, 'epochs', 'epochs', '#epochs tbody', (rows) => {
    const final = rows.filter((cells) => cells[1] === 'final');
    if (final.length === 0) throw new Skipped('no epoch is final');
    for (const cells of final) {
      const [impressions, plays, videos] = sums.get(cells[0].split(/(?<=:\d\d)–/)[0]) ?? [];
      if (impressions === undefined) continue;
      same(cells[2], impressions, `${cells[0]}: impressions in the store`);
      same(cells[3], plays, `${cells[0]}: plays in the store`);
      same(cells[5], videos, `${cells[0]}: videos in the store`);
    }
  });
}

const READ = `import json, sqlite3, sys
store = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
print(json.dumps(store.execute(sys.argv[2]).fetchall()))`;

/** Node 20 reads no SQLite, Python does. */
function query(store, sql) {
  return JSON.parse(execFileSync('python3', ['-c', READ, store, sql], { maxBuffer: 1 << 28 }));
}

// Checks the page of a running server in a browser.
//
//   node check.mjs URL [--store PATH] [--token TOKEN] [--still] [--only WORD]
//
// --store PATH  also compares the page with this SQLite file
// --token TOKEN the server asks for it
// --still       the job publishes nothing now
// --only WORD   only the checks whose names have it
import * as access from './access.mjs';
import { SIZES, Site, Skipped, assert, launch } from './harness.mjs';
import * as live from './live.mjs';
import * as numbers from './numbers.mjs';
import * as states from './states.mjs';

const BYTES_MAX = 150 * 1024;

/** All files of the page, without the rows that the server puts into it. */
async function thePageIsSmall(site) {
  const sizes = new Map();
  await site.with('#job', SIZES.light, async (page) => {
    const urls = await page.evaluate(() => [location.pathname,
      ...performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname)]);
    for (const path of new Set(urls.filter((url) => !url.includes('/api/')))) {
      const text = await (await fetch(new URL(path, site.url))).text();
      sizes.set(path, Buffer.byteLength(text.replace(/<tbody>[^]*?<\/tbody>/g, '')));
    }
  });
  const all = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  assert(sizes.size > 5 && all <= BYTES_MAX,
    `${all} bytes in ${sizes.size} files, ${BYTES_MAX} at most`);
}

function options(words) {
  const value = (name) => (words.includes(name) ? words[words.indexOf(name) + 1] : null);
  return { store: value('--store'), token: value('--token'), only: value('--only') ?? '',
    still: words.includes('--still') };
}

async function main() {
  const [url, ...words] = process.argv.slice(2);
  if (!url) throw new Error('usage: node check.mjs URL [--store PATH] [--token TOKEN] [--still]');
  const browser = await launch();
  const site = new Site(browser, url.endsWith('/') ? url : `${url}/`, options(words));
  const checks = Object.entries({ thePageIsSmall, ...numbers, ...live, ...access, ...states })
    .filter(([name]) => name.includes(site.options.only));
  const count = { passed: 0, failed: 0, skipped: 0 };
  for (const [name, check] of checks) count[await outcome(name, () => check(site))] += 1;
  await browser.close();
  console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
  process.exitCode = count.failed ? 1 : 0;
}

async function outcome(name, check) {
  const began = Date.now();
  try {
    await check();
    console.log(`ok      ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
    return 'passed';
  } catch (error) {
    const skipped = error instanceof Skipped;
    console.log(`${skipped ? 'skipped' : 'FAILED '} ${name}: ${error.message}`);
    return skipped ? 'skipped' : 'failed';
  }
}

await main();

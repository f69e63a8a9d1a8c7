// For everybody: axe, the keyboard, a phone, no JavaScript.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { SIZES, Skipped, assert, assertSame, pause, shown, until } from './harness.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export async function axeFindsNothing(site) {
  const found = [];
  for (const [size, options] of Object.entries(SIZES)) {
    for (const [view, hash] of Object.entries(await site.views())) {
      await site.with(hash, options, async (page) => {
        found.push(...(await axe(page, hash)).map((one) => `${view}, ${size}: ${one}`));
      });
    }
  }
  assert(found.length === 0, `${found.length} violations:\n  ${found.join('\n  ')}`);
}

async function axe(page, hash) {
  await shown(page, hash.slice(1).split(/[?/]/)[0]);
  await page.waitForTimeout(800);
  await pause(page);
  await page.evaluate(() => {
    document.querySelectorAll('details').forEach((one) => { one.open = true; });
  });
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document));
  return violations.map(({ id, nodes }) => `${id} at ${nodes[0].target} (${nodes.length}): `
    + `${nodes[0].failureSummary?.replace(/\s+/g, ' ')}`);
}

export async function nothingScrollsSideways(site) {
  for (const [view, hash] of Object.entries(await site.views())) {
    await site.with(hash, SIZES.phone, async (page) => {
      await shown(page, hash.slice(1).split(/[?/]/)[0]);
      await page.waitForTimeout(500);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert(over <= 0, `${view} scrolls sideways by ${over} px`);
    });
  }
}

const focused = (page) => page.evaluate(() => {
  const node = document.activeElement;
  const outlined = (one) => one && getComputedStyle(one).outlineStyle !== 'none'
    && parseFloat(getComputedStyle(one).outlineWidth) > 0;
  return { name: node.id || node.hash || node.name || node.tagName, text: node.textContent.trim(),
    outlined: outlined(node) || outlined(node.closest('label')) || node === document.body };
});

export async function theKeyboardIsEnough(site) {
  await site.with('', SIZES.light, async (page) => {
    await shown(page, 'trending');
    await page.keyboard.press('Tab');
    assertSame((await focused(page)).text, 'Skip to the content', 'the first stop');
    await page.keyboard.press('Enter');
    assertSame((await focused(page)).name, 'h-trending', 'the focus after the skip');
    await page.keyboard.press('Shift+Tab');
    await page.evaluate(() => document.querySelector('.skip').focus());
    const stops = await walk(page);
    for (const name of ['#trending', '#video', '#epochs', '#ledger', '#job', 'theme', 'pause']) {
      assert(stops.some((stop) => stop.name === name), `Tab comes to ${name}`);
    }
    const unseen = stops.filter((stop) => !stop.outlined).map((stop) => stop.name);
    assertSame(unseen.join(), '', 'stops without a visible focus');
  });
  await goToAView(site);
  await useTheFilters(site);
}

async function walk(page) {
  const stops = [];
  for (let tabs = 0; tabs < 40; tabs += 1) {
    stops.push(await focused(page));
    await page.keyboard.press('Tab');
  }
  return stops;
}

/** A view that is chosen has the focus at its heading; going back shows the view before. */
async function goToAView(site) {
  await site.with('#epochs', SIZES.light, async (page) => {
    await page.focus('nav a[href="#ledger"]');
    await page.keyboard.press('Enter');
    await until('the ledger', () => page.isVisible('#h-ledger'));
    assertSame((await focused(page)).name, 'h-ledger', 'the focus');
    assert(!await page.isVisible('#h-epochs'), 'one view at a time');
    await page.goBack();
    await until('the epochs', () => page.isVisible('#h-epochs'));
  });
}

/** Filters are in the address, and an address has filters. */
async function useTheFilters(site) {
  if (!await site.runsTrending()) return;
  await site.with('#trending', SIZES.light, async (page) => {
    await shown(page, 'trending');
    await page.focus('input[value="rising"]');
    await page.keyboard.press('ArrowRight');
    await until('the address', () => page.url().endsWith('#trending?direction=falling'));
    assert(await page.isChecked('input[value="falling"]'), 'falling is chosen');
  });
  await site.with('#trending?direction=falling&min=100&limit=50', SIZES.light, async (page) => {
    await shown(page, 'trending');
    assert(await page.isChecked('input[value="falling"]'), 'falling, from the address');
    assertSame(await page.inputValue('select[name="min"]'), '100', 'impressions, from the address');
    assertSame(await page.inputValue('select[name="limit"]'), '50', 'rows, from the address');
  });
}

export async function tablesAreThereWithoutJavaScript(site) {
  const response = await fetch(site.url);
  const html = await response.text();
  for (const marker of ['trending', 'epochs', 'status']) {
    assert(!html.includes(`<!--${marker}-->`), `the server filled <!--${marker}-->`);
  }
  if (site.options.token) throw new Skipped('with a token, the page has no rows without it');
  const epochs = (await site.get('epochs?limit=1')).body.rows.length > 0;
  const trends = ((await site.get('trending?limit=1')).body.rows ?? []).length > 0;
  await site.with('', { ...SIZES.phone, javaScriptEnabled: false }, async (page) => {
    if (epochs) assert(await page.isVisible('#epochs tbody tr'), 'rows of the epochs');
    if (trends) assert(await page.isVisible('#trending tbody tr'), 'rows of Trending Now');
    const status = await page.innerText('.status .plain');
    assert(/publication/i.test(status), 'the status has a publication');
    const sentences = (await page.locator('noscript').allTextContents()).length;
    assert(sentences >= 3, 'views that need JavaScript say so');
  });
}

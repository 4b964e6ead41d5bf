// A browser, a server to look at, and what every page is held to: no error on its console, no breach of the content security policy,
// no answer that breaks the contract, nothing axe complains about.
//
//   NAGAYA_URL, NAGAYA_TOKEN   a real server instead of the made-up one (then only what does not need the made-up world runs)
//   NAGAYA_TEST_IMAGE          an image that server has or can fetch; NAGAYA_TEST_COMMAND: what keeps a container of it running
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { errorsOf, findOperation, responseSchema } from '../contract.mjs';
import { startMock } from '../mock/server.mjs';
import { World } from '../mock/world.mjs';

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const shots = process.env.NAGAYA_WEB_SHOTS;
export const real = process.env.NAGAYA_URL ? { url: process.env.NAGAYA_URL.replace(/\/?$/, '/'), token: process.env.NAGAYA_TOKEN ?? '' } : undefined;
export const onlyMock = real ? { skip: 'needs the made-up server' } : {};
export const patience = 60_000;

let browser;
export async function openBrowser() {
  browser = await chromium.launch({
    executablePath: process.env.NAGAYA_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}
export const closeBrowser = () => browser?.close();

/** Runs `body` with a page on a fresh made-up server (or on the real one), then says what was wrong on the way. */
export async function withPage(options, body) {
  const mock = real ? undefined : await startMock({ world: new World({ fast: true }).populate(), root: process.env.NAGAYA_WEB_OUT });
  const url = real?.url ?? mock.url;
  const wrong = [];
  const { token = real?.token ?? 'operator-token', expectErrors = false, ...rest } = options;
  const context = await browser.newContext({ viewport: { width: 1360, height: 860 }, ignoreHTTPSErrors: true, reducedMotion: 'reduce', ...rest });
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  page.on('pageerror', (e) => wrong.push(`uncaught: ${e.message}`));
  page.on('console', (m) => {
    // A refused request is logged by the browser itself; whether it is right is what the test looks at.
    if (m.type() === 'error' && !(/Failed to load resource/.test(m.text()) && (expectErrors || /401/.test(m.text())))) wrong.push(`console: ${m.text()}`);
  });
  page.on('response', (r) => void judge(r).then((text) => text && wrong.push(text)));
  let failed = true;
  try {
    await body({ page, url, token, world: mock?.context.world, mock });
    failed = false;
  } finally {
    if (failed) {
      await snap(page, `failed-${Date.now()}`).catch(() => {});
      if (wrong.length > 0) console.log('also wrong:', wrong);
    }
    await context.close();
    await mock?.close();
  }
  assert.deepEqual(wrong, []);
  assert.deepEqual(mock?.faults ?? [], []);
}

/** What of an answer breaks the contract. */
async function judge(response) {
  const url = new URL(response.url());
  const type = response.headers()['content-type'] ?? '';
  if (!url.pathname.startsWith('/v1/') || !/json/.test(type)) return undefined;
  const method = response.request().method();
  const found = findOperation(method, url.pathname);
  if (!found) return `${method} ${url.pathname}: no such operation in the document`;
  const { missing, schema } = responseSchema(found.operation, response.status());
  if (missing) return `${method} ${url.pathname}: status ${response.status()} is not in the document`;
  const body = await response.json().catch(() => undefined);
  const errors = schema && body !== undefined ? errorsOf(schema, body) : [];
  return errors.length > 0 ? `${method} ${url.pathname}: ${JSON.stringify(errors.slice(0, 3))}` : undefined;
}

/** To the list of domains, through the sign-in page where the server asks for a token. */
export async function enter({ page, url, token }) {
  await page.goto(url);
  const field = page.getByLabel('Token');
  await field.or(page.getByRole('heading', { name: 'Domains' })).first().waitFor();
  if (await field.isVisible()) {
    await field.fill(token);
    await page.keyboard.press('Enter');
  }
  await page.getByRole('heading', { name: 'Domains', level: 1 }).waitFor();
}

export async function snap(page, name) {
  if (shots) await page.screenshot({ path: join(shots, `${name}.png`) });
}

const allRules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'];

export async function checkAccessibility(page, where, rules = allRules) {
  if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(axeSource);
  const { violations } = await page.evaluate((runOnly) => globalThis.axe.run(document, { runOnly }), rules);
  const text = violations.map((v) => `${v.id}: ${v.help}\n${v.nodes.slice(0, 4).map((n) => `    ${n.html.slice(0, 160)} ${n.any[0]?.message ?? ''}`).join('\n')}`);
  assert.equal(text.join('\n'), '', `axe on ${where}`);
}

/** No page is wider than its window. */
export async function checkWidth(page, where) {
  const over = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return '';
    const wide = [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > width + 1 && !e.closest('.table-frame, .tabs, pre, .hidden'));
    return `${document.documentElement.scrollWidth} > ${width}: ${wide.slice(0, 5).map((e) => `${e.tagName}.${e.className}`).join(', ')}`;
  });
  assert.equal(over, '', `width of ${where}`);
}

/** The terminal's screen as text. */
export const screen = (page) => page.locator('.xterm-rows').innerText().then((t) => t.replaceAll('\u00a0', ' '));

export async function until(what, test, ms = patience) {
  const end = Date.now() + ms;
  let last;
  do {
    last = await test();
    if (last) return last;
    await new Promise((r) => setTimeout(r, 50));
  } while (Date.now() < end);
  assert.fail(`waited for: ${what}`);
}

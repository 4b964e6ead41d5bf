// Everything without a pointer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onlyMock, until, withPage } from './harness.mjs';

const focused = (page) => page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent ?? '');

async function tabTo(page, name, most = 60) {
  for (let i = 0; i < most; ++i) {
    await page.keyboard.press('Tab');
    if ((await focused(page)).startsWith(name)) return;
  }
  assert.fail(`no way to “${name}” by Tab`);
}

test('sign in, make, watch, select, stop and delete by keyboard alone', onlyMock, async () => {
  await withPage({}, async ({ page, url, world }) => {
    const key = (...keys) => keys.reduce((before, k) => before.then(() => page.keyboard.press(k)), Promise.resolve());
    await page.goto(url);
    await page.getByLabel('Token').waitFor();
    await page.keyboard.type('operator-token');
    await key('Enter');
    await page.getByRole('heading', { name: 'Domains', level: 1 }).waitFor();
    await page.getByRole('link', { name: 'vpn', exact: true }).waitFor();

    // The first stop of Tab skips the navigation.
    await key('Tab');
    assert.equal(await focused(page), 'Skip to content');

    // Help names the keys; Escape closes it and gives the focus back.
    await key('?');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    await key('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.equal(await focused(page), 'Skip to content');

    await key('n');
    await page.getByRole('heading', { name: 'New domain' }).waitFor();
    await until('the focus in the first field', () => page.evaluate(() => document.activeElement?.getAttribute('name') === 'image'));
    await page.keyboard.type('debian');
    await key('Tab');
    await page.keyboard.type('by-hand');
    await key('Enter');
    await page.getByRole('heading', { name: 'by-hand', level: 1 }).waitFor();
    await page.locator('.domain-line .state-running').waitFor();

    // Back to the list; filter; from row to row; select; the verbs for what is selected.
    await key('g', 'd');
    await page.getByRole('heading', { name: 'Domains', level: 1 }).waitFor();
    await page.getByRole('link', { name: 'by-hand', exact: true }).waitFor();
    await key('/');
    await until('the focus in the filter', () => page.evaluate(() => document.activeElement?.tagName === 'INPUT'));
    await page.keyboard.type('by-hand');
    await until('one row', async () => (await page.locator('table.domains tbody tr').count()) === 1);
    await tabTo(page, 'by-hand');
    await key('x');
    await page.getByText('1 selected').waitFor();
    await page.keyboard.press('Shift+Tab');
    for (let i = 0; i < 20 && !(await focused(page)).startsWith('Stop'); ++i) await page.keyboard.press('Shift+Tab');
    await key('Enter');
    await until('it is stopped', () => world.domains.get('by-hand').domain.state === 'stopped');

    // The menu: arrows go round, Escape closes it, Enter chooses. The dialog begins at the way out.
    await tabTo(page, 'More for by-hand');
    await key('ArrowDown');
    await page.getByRole('menu').waitFor();
    await key('Escape');
    assert.equal(await focused(page), 'More for by-hand');
    await key('Enter', 'End', 'Enter');
    await page.getByRole('dialog', { name: 'Delete by-hand?' }).waitFor();
    assert.equal(await focused(page), 'Cancel');
    await key('Tab', 'Enter');
    await until('it is gone', () => !world.domains.has('by-hand'));

    // The filter fits none now; Escape clears it.
    await page.getByText('None fits the filter').waitFor();
    await key('/', 'Escape');
    await page.getByRole('link', { name: 'vpn', exact: true }).waitFor();
    await key('Escape');

    // j and k, the row house, the tray, the colours.
    await page.getByRole('link', { name: 'build-farm', exact: true }).focus();
    await key('j', 'j', 'k');
    assert.equal(await focused(page), 'db');
    await page.locator('.rooms a').first().focus();
    await key('ArrowRight');
    assert.match(await focused(page), /^db /);
    await key('End', 'Enter');
    await page.getByRole('heading', { name: 'vpn', level: 1 }).waitFor();
    await key('o');
    await page.getByRole('complementary', { name: 'Operations' }).waitFor();
    await key('Escape');
    await page.getByRole('complementary', { name: 'Operations' }).waitFor({ state: 'detached' });
    assert.match(await focused(page), /^Operations/);
    await key('t', 't');
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');

    // Single keys can be switched off.
    await key('?');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    await page.getByLabel('Single keys are shortcuts').focus();
    await key('Space', 'Escape', 'n');
    assert.equal(await page.getByRole('heading', { name: 'New domain' }).count(), 0);
  });
});

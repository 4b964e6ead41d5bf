// Terminals: size, lost connections, the way out, exit codes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enter, onlyMock, screen, until, withPage } from './harness.mjs';

async function type(page, text) {
  await page.keyboard.type(`${text}\r`);
}

test('the console shows what was written, knows its size, and comes back', onlyMock, async () => {
  await withPage({ expectErrors: true }, async (visit) => {
    const { page, url, mock } = visit;
    await enter(visit);
    await page.goto(`${url}#/domains/vpn/terminal`);
    await page.getByText('connected').waitFor();
    await until('what was written before', async () => (await screen(page)).includes('vpn login:'));

    const columns = async () => {
      await type(page, 'size');
      return Number(await until('the size', async () => [...(await screen(page)).matchAll(/(\d+) columns, \d+ rows/g)].at(-1)?.[1]));
    };
    const wide = await columns();
    await page.setViewportSize({ width: 700, height: 700 });
    await until('fewer columns', async () => (await columns()) < wide - 20);

    // The connection is lost and comes back by itself; the screen is the server's again.
    await type(page, 'drop');
    await page.getByText('trying again').waitFor();
    await page.getByText('connected').waitFor();
    await type(page, 'echo back again');
    await until('an answer after the loss', async () => ((await screen(page)).match(/back again/g) ?? []).length === 2);

    // Ctrl-] leaves, so that the keyboard is not caught.
    await page.keyboard.press('Control+]');
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Console');

    // When it stops, so does the console.
    await page.getByRole('button', { name: 'Stop vpn' }).click();
    await page.getByText('It is not running').waitFor();
    assert.equal(mock.context.world.domains.get('vpn').domain.state, 'stopped');
  });
});

test('a program runs with its arguments and ends with its code', onlyMock, async () => {
  await withPage({}, async (visit) => {
    const { page, url } = visit;
    await enter(visit);
    await page.goto(`${url}#/domains/db/terminal`);
    await page.getByRole('button', { name: 'Program' }).click();
    await page.getByLabel('Command').fill("psql -c 'select 1'");
    await page.keyboard.press('Enter');
    await page.getByText('ended with exit code 0').waitFor();
    assert.match(await screen(page), /psql -c select 1/);
    await page.getByLabel('Command').fill("echo 'open");
    await page.keyboard.press('Enter');
    await page.getByText('not closed').waitFor();
    await page.getByLabel('Command').fill('/bin/sh');
    await page.keyboard.press('Enter');
    await page.getByText('connected').waitFor();
    await until('a prompt', async () => /#/.test(await screen(page)));
    await type(page, 'exit 7');
    await page.getByText('ended with exit code 7').waitFor();
  });
});

test('the log follows, without escape sequences', onlyMock, async () => {
  await withPage({}, async (visit) => {
    const { page, url } = visit;
    await enter(visit);
    await page.goto(`${url}#/domains/vpn/logs`);
    const log = page.getByLabel('Log of vpn');
    await log.getByText('[  OK  ] Reached target Multi-User System.').waitFor();
    await log.getByText('GET /item/2 200').waitFor();
    await page.getByLabel('Times').check();
    await log.getByText(/^\d{4}-\d\d-\d\dT.* \[/m).waitFor();
  });
});

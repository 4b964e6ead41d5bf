// What only a server with real containers can show. web/test/real starts one, with the container "house": a shell on a terminal, stopped.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enter, real, screen, snap, until, withPage } from './harness.mjs';

const onlyReal = real ? {} : { skip: 'needs a real server (NAGAYA_URL)' };

test('a container is listed, started, spoken to on its console, read in its log, stopped', onlyReal, async () => {
  await withPage({}, async (visit) => {
    const { page, url } = visit;
    await enter(visit);
    await page.getByRole('link', { name: 'house', exact: true }).first().click();
    await page.getByRole('heading', { name: 'house', level: 1 }).waitFor();
    await page.getByRole('button', { name: 'Start house' }).click();
    await page.locator('.domain-line .state-running').waitFor();

    await page.goto(`${url}#/domains/house/terminal`);
    await page.getByText('connected').waitFor();
    await until('the console to have a size of its own', async () => {
      await page.keyboard.type('stty size\r');
      return /^[1-9]\d* [1-9]\d*$/m.test(await screen(page));
    });
    await page.keyboard.type('echo the "house" stands\r');
    await until('the output of the command', async () => (await screen(page)).includes('the house stands'));
    await snap(page, 'real-console');

    await page.goto(`${url}#/domains/house/logs`);
    await page.getByLabel('Log of house').getByText('the house stands').waitFor();
    await page.goto(`${url}#/domains/house`);
    await page.getByRole('button', { name: 'Stop house' }).click();
    await page.locator('.domain-line .state-stopped').waitFor();
    assert.equal(await page.getByRole('button', { name: 'Start house' }).isVisible(), true);
  });
});

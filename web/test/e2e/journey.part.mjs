// The way of a domain from its making to its end, as a person goes it. Runs against a real server too.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enter, patience, real, screen, snap, until, withPage } from './harness.mjs';

const image = process.env.NAGAYA_TEST_IMAGE ?? 'docker.io/library/alpine:3.20';
const command = process.env.NAGAYA_TEST_COMMAND ?? 'sleep 3600';

test('create, watch, type a command in a terminal, stop, delete', async () => {
  await withPage({}, async (visit) => {
    const { page } = visit;
    await enter(visit);
    const name = `journey-${process.pid}`;

    await page.getByRole('link', { name: 'New…' }).click();
    await page.getByText('Container', { exact: true }).click();
    await page.getByLabel('Image', { exact: true }).fill(image);
    await page.getByLabel('Name', { exact: true }).fill(name);
    await page.getByLabel('Memory', { exact: true }).fill('128M');
    await page.getByLabel('Command').fill(command);
    assert.match(await page.getByLabel('Definition in JSON').innerText(), /"memory": 134217728/);
    await page.getByRole('button', { name: 'Make and start' }).click();
    await page.getByRole('heading', { name, level: 1 }).waitFor({ timeout: patience * 2 });
    await page.locator('.domain-line .state-running').waitFor();

    // Watching: the graphs have a line after two answers.
    await until('a line in the graph of CPU', () => page.locator('.chart-line').first().getAttribute('d').then((d) => /L/.test(d ?? '')));
    await snap(page, 'journey-watch');

    await page.getByRole('link', { name: 'Terminal' }).click();
    await page.getByRole('button', { name: 'Program' }).click();
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    await page.getByText('connected').waitFor();
    await until('a prompt', async () => /[#$] *$/.test((await screen(page)).trimEnd()));
    await page.keyboard.type('echo the house stands\r');
    await until('the output of the command', async () => ((await screen(page)).match(/the house stands/g) ?? []).length >= 2);
    await snap(page, 'journey-terminal');
    await page.keyboard.type('exit\r');
    await page.getByText('ended with exit code 0').waitFor();

    await page.getByRole('button', { name: `Stop ${name}` }).click();
    await page.locator('.domain-line .state-stopped').waitFor();
    await page.getByRole('button', { name: `More for ${name}` }).click();
    await page.getByRole('menuitem', { name: 'Delete…' }).click();
    await page.getByRole('dialog', { name: `Delete ${name}?` }).waitFor();
    await snap(page, 'journey-delete');
    await page.getByRole('button', { name: `Delete ${name}` }).click();
    await page.getByRole('heading', { name: 'Domains', level: 1 }).waitFor();
    await page.getByText(`${name} deleted`).waitFor();
    await until('it is gone from the list', async () => (await page.getByRole('link', { name, exact: true }).count()) === 0);

    // All of it was told as it happened.
    await page.getByRole('link', { name: 'Events' }).click();
    await page.getByLabel('Filter events').fill(name);
    for (const kind of ['created', 'started', 'stopped', 'removed']) await page.getByRole('cell', { name: kind, exact: true }).first().waitFor();
  });
});

test('pages of a real server answer by the contract', real ? {} : { skip: 'the other tests see all pages of the made-up server' }, async () => {
  await withPage({}, async (visit) => {
    await enter(visit);
    for (const name of ['Images', 'Networks', 'Volumes', 'Events', 'Host']) {
      await visit.page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name }).click();
      await visit.page.getByRole('heading', { level: 1, name }).waitFor();
      await until(`${name} to be there`, async () => (await visit.page.locator('.loading').count()) === 0);
      await snap(visit.page, `real-${name}`);
    }
  });
});

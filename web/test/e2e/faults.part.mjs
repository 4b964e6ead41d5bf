// What goes wrong is told where it belongs, and what comes back is taken up again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkAccessibility, enter, onlyMock, snap, until, withPage } from './harness.mjs';

test('messages stand at their fields: ours before sending, the server’s after', onlyMock, async () => {
  await withPage({ expectErrors: true }, async (visit) => {
    const { page, url, world } = visit;
    await enter(visit);
    await page.goto(`${url}#/create`);
    await page.getByLabel('Name', { exact: true }).fill('-wrong');
    await page.getByLabel('Memory', { exact: true }).fill('much');
    await page.getByRole('button', { name: 'Make and start' }).click();
    await page.getByText('Which image?').waitFor();
    await page.getByText('begins with a letter or digit').waitFor();
    await page.getByText('A size such as').waitFor();
    await until('the focus at the first', () => page.evaluate(() => document.activeElement?.getAttribute('name') === 'image'));
    await checkAccessibility(page, 'create with messages');
    await snap(page, 'create-messages');

    await page.getByLabel('Image', { exact: true }).fill('debian');
    await page.getByLabel('Name', { exact: true }).fill('db');
    await page.getByLabel('Memory', { exact: true }).fill('1G');
    await page.getByRole('button', { name: 'Make and start' }).click();
    await page.getByText('there is a domain db already').waitFor();
    await until('the focus at the name', () => page.evaluate(() => document.activeElement?.getAttribute('name') === 'name'));

    // Refused after a while, by the operation.
    await page.getByLabel('Name', { exact: true }).fill('fine');
    await page.getByLabel('Image', { exact: true }).fill('registry/missing');
    await page.getByRole('button', { name: 'Make and start' }).click();
    await page.getByRole('progressbar').waitFor();
    await page.getByText('the registry does not know registry/missing').waitFor();
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('name')), 'image');

    // Cancelled half-way: nothing is made.
    world.fast = false;
    await page.getByLabel('Image', { exact: true }).fill('debian');
    await page.getByRole('button', { name: 'Make and start' }).click();
    await page.getByRole('button', { name: 'Cancel create fine' }).click();
    await page.getByText('Cancelled; nothing was made').waitFor();
    assert.equal(world.domains.has('fine'), false);
  });
});

test('limits changed by two: the later is told, sees what is, and may try again', onlyMock, async () => {
  await withPage({ expectErrors: true }, async (visit) => {
    const { page, url, world } = visit;
    await enter(visit);
    await page.goto(`${url}#/domains/vpn`);
    const open = async () => {
      await page.getByRole('button', { name: 'More for vpn' }).click();
      await page.getByRole('menuitem', { name: 'Limits…' }).click();
    };
    await open();
    const dialog = page.getByRole('dialog', { name: 'Limits of vpn' });
    await dialog.getByLabel('CPUs', { exact: true }).fill('100');
    await dialog.getByRole('button', { name: 'Change' }).click();
    await dialog.getByText('this host has 2').waitFor();

    const entry = world.domains.get('vpn');
    entry.version++;
    entry.definition.limits = { memory: 1024 ** 3, cpus: 2 };
    await dialog.getByLabel('CPUs', { exact: true }).fill('1.5');
    await dialog.getByRole('button', { name: 'Change' }).click();
    await dialog.getByText('Somebody changed vpn').waitFor();
    await dialog.getByRole('button', { name: 'Show what it is now' }).click();
    await until('the new value', () => dialog.getByLabel('Memory').inputValue().then((v) => v === '1G'));
    await dialog.getByLabel('CPUs', { exact: true }).fill('1.5');
    await dialog.getByRole('button', { name: 'Change' }).click();
    await dialog.waitFor({ state: 'detached' });
    assert.deepEqual(entry.definition.limits, { memory: 1024 ** 3, cpus: 1.5 });
  });
});

test('a server that goes away is told of, and events that were missed are caught up', onlyMock, async () => {
  await withPage({ expectErrors: true }, async (visit) => {
    const { page, url, mock, world } = visit;
    await enter(visit);
    await page.goto(`${url}#/events`);
    await page.getByText('live', { exact: true }).waitFor();
    mock.breakDown(true);
    await page.getByText('No answer from the server since').waitFor();
    await snap(page, 'offline');
    world.event('oom', 'db', { process: 'while-away' });
    mock.breakDown(false);
    await page.getByText('process while-away').waitFor();
    await until('the note is gone', async () => (await page.getByText('No answer from the server since').count()) === 0);
    assert.equal(await page.getByText('process while-away').count(), 1);
  });
});

test('verbs for many: each takes what it can, errors name the domain', onlyMock, async () => {
  await withPage({ expectErrors: true }, async (visit) => {
    const { page, world } = visit;
    await enter(visit);
    for (const name of ['metrics', 'shop-web-1', 'mail']) await page.getByLabel(`Select ${name}`).check();
    await page.getByRole('button', { name: 'Stop 2', exact: true }).click();
    await until('both are stopped', () => ['metrics', 'shop-web-1'].every((n) => world.domains.get(n).domain.state === 'stopped'));
    await page.getByText('2 domains stopped').waitFor();
    await page.getByRole('toolbar').getByRole('button', { name: 'Delete…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Delete 3 domains?' });
    for (const name of ['metrics', 'shop-web-1', 'mail']) await dialog.getByText(name, { exact: true }).waitFor();
    await snap(page, 'delete-many');
    world.domains.delete('mail');
    await dialog.getByRole('button', { name: 'Delete 3 domains' }).click();
    await page.getByText('Could not delete mail: there is no domain mail').waitFor();
    await page.getByText('2 domains deleted').waitFor();
  });
});

test('networks, volumes and images are made, fetched and deleted', onlyMock, async () => {
  await withPage({ expectErrors: true }, async (visit) => {
    const { page, url, world } = visit;
    await enter(visit);
    await page.goto(`${url}#/networks`);
    assert.equal(await page.getByRole('button', { name: 'Delete backstage' }).isDisabled(), true);
    await page.getByRole('button', { name: 'New…' }).click();
    await page.getByLabel('Name').fill('lab');
    await page.getByLabel('Subnet').fill('10.9.0.0/99');
    await page.getByRole('button', { name: 'Make' }).click();
    await page.getByText('is no subnet').waitFor();
    await page.getByLabel('Subnet').fill('10.9.0.0/24');
    await page.getByRole('button', { name: 'Make' }).click();
    await page.getByRole('button', { name: 'Delete lab' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete lab' }).click();
    await until('the network is gone', () => !world.networks.some((n) => n.name === 'lab'));

    await page.goto(`${url}#/volumes`);
    await page.getByRole('button', { name: 'New…' }).click();
    await page.getByLabel('Name').fill('photos');
    await page.getByLabel('Labels').fill('of=trees');
    await page.keyboard.press('Tab');
    await page.getByRole('button', { name: 'Make' }).click();
    await page.getByText('of=trees').waitFor();

    await page.goto(`${url}#/images`);
    await page.getByLabel('Fetch an image').fill('registry/missing');
    await page.getByRole('button', { name: 'Fetch', exact: true }).click();
    await page.getByText('registry/missing: the registry does not know it').waitFor();
    await page.getByLabel('Fetch an image').fill('example/new:1');
    await page.getByRole('button', { name: 'Fetch', exact: true }).click();
    await page.getByRole('progressbar', { name: 'pull example/new:1' }).waitFor();
    await page.getByRole('rowheader', { name: 'example/new:1' }).waitFor();
    await page.getByRole('link', { name: 'Use example/new:1 for a new domain' }).click();
    assert.equal(await page.getByLabel('Image', { exact: true }).inputValue(), 'example/new:1');
  });
});

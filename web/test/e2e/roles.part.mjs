// Who may do what: a viewer sees nothing that would be refused, and is never refused anything.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findOperation } from '../contract.mjs';
import { enter, onlyMock, snap, until, withPage } from './harness.mjs';

test('a viewer sees no verbs, and only its projects', onlyMock, async () => {
  await withPage({ token: 'viewer-token' }, async (visit) => {
    const { page, url } = visit;
    const refused = [];
    page.on('response', (r) => { if (r.status() === 403) refused.push(r.url()); });
    await enter(visit);
    await page.getByRole('link', { name: 'db', exact: true }).waitFor();
    const pages = ['domains', 'domains/db', 'domains/db/logs', 'images', 'networks', 'volumes', 'events', 'host', 'create', 'access'];
    for (const place of pages) {
      await page.goto(`${url}#/${place}`);
      await until('nothing is loading', async () => (await page.locator('.loading').count()) === 0);
      const names = await page.locator('main button, main a.button').allInnerTexts();
      const verbs = names.filter((n) => /^(New|Start|Stop|Restart|Pause|Kill|Delete|Make|Fetch|Use|⋯|Limits)/.test(n));
      assert.deepEqual(verbs, [], `verbs on ${place}`);
      assert.equal(await page.getByRole('checkbox', { name: /^Select/ }).count(), 0);
      await snap(page, `viewer-${place.replaceAll('/', '-')}`);
    }
    assert.equal(await page.getByRole('link', { name: 'Terminal' }).count(), 0);
    assert.equal(await page.getByRole('link', { name: 'Access' }).count(), 0);
    await page.keyboard.press('n');
    assert.equal(await page.getByRole('button', { name: 'Make' }).count(), 0);
    assert.deepEqual(refused, []);
  });
});

test('an operator of one project sees its domains, and no verbs for the host', onlyMock, async () => {
  const ofHost = (method, path) => findOperation(method, path).operation['x-scope'] === 'host';
  await withPage({ token: 'shop-token' }, async (visit) => {
    const { page, url } = visit;
    await enter(visit);
    await page.getByRole('button', { name: 'Stop db' }).waitFor();
    assert.equal(await page.getByRole('link', { name: 'vpn', exact: true }).count(), 0);
    await page.goto(`${url}#/networks`);
    await page.getByRole('rowheader', { name: 'office' }).waitFor();
    assert.equal(await page.getByRole('button', { name: 'New…' }).count(), ofHost('POST', '/v1/networks') ? 0 : 1);
    assert.equal(await page.getByRole('button', { name: /^Delete/ }).count() === 0, ofHost('DELETE', '/v1/networks/x'));
    await page.goto(`${url}#/create?kind=container`);
    await page.getByLabel('Image', { exact: true }).waitFor();
    assert.equal(await page.getByLabel('Privileged').count(), 0);
  });
});

test('an administrator makes a token whose secret is shown once, and withdraws it', onlyMock, async () => {
  await withPage({ token: 'admin-token', expectErrors: true }, async (visit) => {
    const { page, url, world } = visit;
    await enter(visit);
    await page.goto(`${url}#/access`);
    await page.getByText('expired').waitFor();
    await page.getByRole('button', { name: 'New token…' }).click();
    await page.getByLabel('Name').fill('ada');
    await page.getByRole('button', { name: 'Make token' }).click();
    await page.getByText('there is a token ada already').waitFor();
    await page.getByLabel('Name').fill('robot');
    await page.getByLabel('Role').selectOption('operator');
    await page.getByRole('button', { name: 'Make token' }).click();
    const { secret } = await until('the token', () => world.tokens.find((t) => t.name === 'robot'));
    await page.getByText(secret).waitFor();
    await snap(page, 'token-secret');
    await page.getByRole('button', { name: 'I have kept it' }).click();
    await page.getByRole('rowheader', { name: 'robot' }).waitFor();
    assert.equal(await page.getByText(secret).count(), 0);
    await page.getByRole('button', { name: 'Delete robot' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete robot' }).click();
    await until('it is withdrawn', () => !world.tokens.some((t) => t.name === 'robot'));
  });
});

test('a server that asks for no token is entered straight away, terminals too', onlyMock, async () => {
  await withPage({}, async (visit) => {
    const { page, url, mock } = visit;
    mock.context.open = { name: 'socket', role: 'admin' };
    await page.goto(url);
    await page.getByText('socket admin').waitFor();
    await page.goto(`${url}#/domains/vpn/terminal`);
    await page.getByText('connected').waitFor();
  });
});

test('a wrong token is told, and one that was withdrawn leads back to the door', onlyMock, async () => {
  await withPage({}, async (visit) => {
    const { page, url, world } = visit;
    await page.goto(url);
    await page.getByLabel('Token').fill('not a token');
    await page.keyboard.press('Enter');
    await page.getByText('A token consists of').waitFor();
    await page.getByLabel('Token').fill('unknown');
    await page.keyboard.press('Enter');
    await page.getByText('does not know this token').waitFor();
    await enter(visit);
    // It survives a reload of the tab, and is in no storage that outlives the tab.
    await page.reload();
    await page.getByRole('heading', { name: 'Domains', level: 1 }).waitFor();
    assert.equal(await page.evaluate(() => JSON.stringify(localStorage).includes('operator-token')), false);
    world.tokens = world.tokens.filter((t) => t.name !== 'otto');
    await page.getByText('no longer accepts this token').waitFor();
  });
});

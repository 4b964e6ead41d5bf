// Every page, wide and narrow, light and dark: nothing axe complains about, nothing wider than its window; pictures for a person to judge.
import { test } from 'node:test';
import { checkAccessibility, checkWidth, enter, onlyMock, snap, until, withPage } from './harness.mjs';

const places = ['domains', 'create', 'domains/shop-web-1', 'domains/db/terminal', 'domains/vpn/logs', 'domains/db/processes', 'domains/db/events', 'domains/db/definition', 'domains/mail',
  'images', 'networks', 'volumes', 'events', 'host', 'access', 'nowhere'];

for (const [width, height] of [[1360, 860], [360, 740]]) {
  for (const colorScheme of ['light', 'dark']) {
    test(`${width} wide, ${colorScheme}`, onlyMock, async () => {
      await withPage({ viewport: { width, height }, colorScheme, token: 'admin-token' }, async (visit) => {
        const { page, url } = visit;
        const look = async (name) => {
          // What does not depend on colours is looked at by day, and what does not depend on width in a wide window.
          if (colorScheme === 'light') await checkAccessibility(page, `${name}, ${width}, ${colorScheme}`);
          else if (width > 500) await checkAccessibility(page, `${name}, ${width}, ${colorScheme}`, ['color-contrast']);
          await checkWidth(page, name);
          await snap(page, `${colorScheme}-${width}-${name.replaceAll('/', '-')}`);
        };
        await page.goto(url);
        await page.getByLabel('Token').waitFor();
        await look('sign-in');
        await enter(visit);
        await until('lines in the small graphs', async () => /L/.test((await page.locator('.spark-line').first().getAttribute('d')) ?? ''));
        for (const place of places) {
          await page.goto(`${url}#/${place}`);
          await until('nothing is loading', async () => (await page.locator('.loading').count()) === 0);
          if (place.endsWith('terminal')) await page.getByText('connected').waitFor();
          await look(place);
        }
        await page.goto(`${url}#/domains`);
        await page.getByLabel('Select db').check();
        await page.getByLabel('Select mail').check();
        if (width < 500) await page.getByRole('button', { name: 'Menu' }).click();
        await look('domains-selected');
        await page.getByRole('button', { name: /^More for db/ }).click();
        await look('domains-menu');
        await page.getByRole('menuitem', { name: 'Stop', exact: true }).waitFor();
        await page.getByRole('menuitem', { name: 'Limits…' }).click();
        await page.getByRole('dialog').getByLabel('Memory').waitFor();
        await look('limits');
        await page.keyboard.press('Escape');
        await page.evaluate(() => document.activeElement.blur());
        await page.keyboard.press('?');
        await look('keys');
        await page.keyboard.press('Escape');
        await page.keyboard.press('o');
        await look('operations');
      });
    });
  }
}

test('empty, and before the first answer', onlyMock, async () => {
  await withPage({}, async (visit) => {
    for (const list of ['images', 'networks', 'volumes', 'events']) visit.world[list].length = 0;
    visit.world.domains.clear();
    await enter(visit);
    await visit.page.getByText('No households yet').waitFor();
    for (const place of ['domains', 'images', 'networks', 'volumes', 'events']) {
      await visit.page.goto(`${visit.url}#/${place}`);
      await visit.page.locator('.empty').waitFor();
      await checkAccessibility(visit.page, `empty ${place}`);
      await snap(visit.page, `empty-${place}`);
    }
  });
});

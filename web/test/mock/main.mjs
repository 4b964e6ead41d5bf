// `npm run mock [PORT]`: the made-up host for development, with the console as it was last built.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startMock } from './server.mjs';
import { World } from './world.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const mock = await startMock({ world: new World().populate(), root: process.env.NAGAYA_WEB_OUT ?? join(here, '../../../build/web'), port: Number(process.argv[2] ?? 7780) });
console.log(`${mock.url} (tokens: admin-token, operator-token, viewer-token)`);

// One browser for all parts.
import { after, before } from 'node:test';
import { closeBrowser, openBrowser } from './harness.mjs';

before(openBrowser);
after(closeBrowser);
await import('./journey.part.mjs');
await import('./terminal.part.mjs');
await import('./keyboard.part.mjs');
await import('./roles.part.mjs');
await import('./faults.part.mjs');
await import('./looks.part.mjs');
await import('./real.part.mjs');

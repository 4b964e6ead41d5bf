// Text on every colour of the page reaches the contrast that WCAG 2.2 asks for (1.4.3: 4.5 to 1), by day and by night.
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const css = readFileSync(new URL('../styles/colours.css', import.meta.url), 'utf8').replace(/\/\*[^]*?\*\//g, '');
const block = (selector: string) => {
  const from = css.lastIndexOf(`${selector} {`);
  return Object.fromEntries([...css.slice(from, css.indexOf('}', from)).matchAll(/--([\w-]+): (#[0-9a-f]{6})/g)].map((m) => [m[1]!, m[2]!]));
};
const light = block(':root');
const dark = block(":root[data-theme='dark']");
const darkBySystem = block(":root:not([data-theme='light'])");

function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((i) => {
    const c = Number.parseInt(hex.slice(i, i + 2), 16) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}
function contrast(a: string, b: string): number {
  const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
  return (x! + 0.05) / (y! + 0.05);
}

const grounds = ['paper', 'surface', 'sunk', 'accent-soft'];
const pairs: [string, string][] = [
  ...grounds.flatMap((g): [string, string][] => ['ink', 'ink-2', 'accent'].map((t) => [t, g])),
  ...['paper', 'surface'].flatMap((g): [string, string][] => ['good', 'warn', 'bad'].map((t) => [t, g])),
  ['accent-ink', 'accent'], ['paper', 'bad'], ['warn', 'warn-soft'], ['ink', 'bad-soft'],
  ...[0, 1, 2, 3, 4, 5].map((n): [string, string] => [`dye-${n}-ink`, `dye-${n}`]),
];

it.each([['light', light], ['dark', dark]] as const)('text can be read by %s', (_, theme) => {
  for (const [text, ground] of pairs) expect(contrast(theme[text]!, theme[ground]!), `${text} on ${ground}`).toBeGreaterThanOrEqual(4.5);
});

it('borders of fields can be seen (1.4.11: 3 to 1)', () => {
  for (const theme of [light, dark]) expect(contrast(theme['line-strong']!, theme.surface!)).toBeGreaterThanOrEqual(3);
});

it('dark is the same whether the system or the switch says so', () => {
  expect(Object.keys(dark).length).toBeGreaterThan(20);
  expect(darkBySystem).toEqual(dark);
});

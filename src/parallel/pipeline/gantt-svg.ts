// The picture of a simulated schedule as SVG: a row per rank, time to the right, a colour per pass, the number of the
// microbatch where there is room. Chunks after the first are darker. It reads on a light and on a dark ground.

import { formatAction } from './passes.ts';
import { PASS_KINDS } from './schedule.ts';
import type { PassKind, Schedule } from './schedule.ts';
import type { Simulation, TimedAction } from './simulate.ts';

const COLOURS: Readonly<Record<PassKind, string>> = {
  ...{ IF: '#b7a3e0', F: '#6ea8e8', S: '#f2c14e', S2: '#e8d48a', T: '#e58a3c' },
  ...{ R: '#9fc6ea', B: '#62bd8a', W: '#a7b0ba', IB: '#8b74c9' },
};
const MEANING: Readonly<Record<PassKind, string>> = {
  ...{ IF: 'embedding', F: 'forward', S: 'head', S2: 'head: sums', T: 'head: gradient' },
  ...{ R: 'forward again', B: 'backward', W: 'weights', IB: 'embedding: gradient' },
};
const [LEFT, TOP, ROW, GAP, WIDTH, FOOT] = [64, 34, 24, 4, 1200, 58];
const STYLE = [
  '.ground { fill: #ffffff } .word { fill: #1f2328; font: 12px system-ui, sans-serif }',
  '.row { fill: #eceff2 } .line { stroke: #9aa4ae; stroke-width: 1 }',
  '.number { fill: #10151a; font: 10px system-ui, sans-serif; text-anchor: middle }',
  '@media (prefers-color-scheme: dark) {',
  '.ground { fill: #0d1117 } .word { fill: #e6edf3 } .row { fill: #1c232b } .line { stroke: #5b6671 }',
  '}',
].join('\n');

/** `chunks`: stages of blocks per rank. `title`: one line above the picture. */
export function ganttSvg(schedule: Schedule, chunks: number, simulation: Simulation, title: string): string {
  const { timeline, makespan } = simulation;
  const scale = makespan === 0 ? 0 : WIDTH / makespan;
  const bottom = TOP + timeline.length * (ROW + GAP);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${LEFT + WIDTH + 16} ${bottom + FOOT}" role="img">`,
    `<title>${escape(title)}</title>`,
    `<style>${STYLE}</style>`,
    '<rect class="ground" width="100%" height="100%"/>',
    `<text class="word" x="${LEFT}" y="20">${escape(title)}</text>`,
  ];
  const held = timeline.map((actions) => chunkNumbers(actions, chunks));
  for (const [rank, actions] of timeline.entries()) {
    const y = TOP + rank * (ROW + GAP);
    parts.push(`<text class="word" x="8" y="${y + 16}">rank ${rank}</text>`);
    parts.push(`<rect class="row" x="${LEFT}" y="${y}" width="${WIDTH}" height="${ROW}"/>`);
    for (const action of actions) parts.push(...box(action, y, scale, held[rank]!.get(action.stage) ?? 0));
  }
  parts.push(...axis(makespan, scale, bottom), ...legend(schedule.passes, bottom + 44), '</svg>');
  return `${parts.join('\n')}\n`;
}

/** The chunk that a stage of blocks is on its rank; the shared stages have none. */
function chunkNumbers(actions: readonly TimedAction[], chunks: number): ReadonlyMap<number, number> {
  const stages = [...new Set(actions.flatMap(({ kind, stage }) => (kind === 'F' ? [stage] : [])))];
  return new Map(
    stages
      .sort((a, b) => a - b)
      .slice(0, chunks)
      .map((stage, chunk) => [stage, chunk]),
  );
}

function box(action: TimedAction, y: number, scale: number, chunk: number): readonly string[] {
  const width = (action.end - action.start) * scale;
  if (width <= 0) return [];
  const x = LEFT + action.start * scale;
  const said = `${formatAction(action)}: ${short(action.start)} to ${short(action.end)}`;
  const darker = chunk > 0 ? ` style="filter: brightness(${short(Math.max(0.6, 1 - 0.16 * chunk))})"` : '';
  const rect =
    `<rect x="${short(x)}" y="${y}" width="${short(width)}" height="${ROW}" fill="${COLOURS[action.kind]}"` +
    `${darker} stroke="#ffffff" stroke-opacity="0.6" stroke-width="${width > 4 ? 1 : 0}"><title>${said}</title></rect>`;
  const number = String(action.microbatch);
  if (width < 4 + 6 * number.length) return [rect];
  return [rect, `<text class="number" x="${short(x + width / 2)}" y="${y + 16}">${number}</text>`];
}

/** Ticks at round times. */
function axis(makespan: number, scale: number, y: number): readonly string[] {
  if (makespan === 0) return [];
  const power = 10 ** Math.floor(Math.log10(makespan / 8));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => makespan / one <= 12)!;
  const ticks = Array.from({ length: Math.floor(makespan / step + 1e-9) + 1 }, (_, i) => i * step);
  return ticks.flatMap((time) => {
    const x = short(LEFT + time * scale);
    return [
      `<line class="line" x1="${x}" y1="${y}" x2="${x}" y2="${y + 5}"/>`,
      `<text class="word" x="${x}" y="${y + 18}" text-anchor="middle">${short(time)}</text>`,
    ];
  });
}

function legend(passes: readonly PassKind[], y: number): readonly string[] {
  let x = LEFT;
  return PASS_KINDS.filter((kind) => passes.includes(kind)).flatMap((kind) => {
    const text = `${kind}: ${MEANING[kind]}`;
    const at = x;
    x += 30 + 7 * text.length;
    return [
      `<rect x="${at}" y="${y - 11}" width="14" height="14" fill="${COLOURS[kind]}"/>`,
      `<text class="word" x="${at + 20}" y="${y}">${text}</text>`,
    ];
  });
}

const short = (value: number): string => String(Number(value.toPrecision(6)));

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

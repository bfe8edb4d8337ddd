// The sweep over all layouts: what it runs, in which order it tells, that it refuses before anything starts, and that
// one wrong gradient in one layout is found.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { formatLayout, worldSize } from '../../src/base/axis.ts';
import { readSafetensors, toFloat32, writeSafetensors } from '../../src/base/safetensors.ts';
import { run } from '../../src/cli/main.ts';
import { everyLayout, variationsOf, verifyAllLayouts } from '../../src/cli/verify/all-layouts.ts';
import type { Outcome } from '../../src/cli/verify/all-layouts.ts';
import { schedules } from '../../src/parallel/pipeline/registry.ts';
import type { RunExecutor, RunResult } from '../../src/cli/verify/run-folder.ts';
import { makeLayout } from '../../src/train/layout.ts';
import { goldenModel } from '../support/local-run.ts';

const folder = goldenModel('llama-tiny');
const bytes = (name: string): Uint8Array<ArrayBuffer> => new Uint8Array(readFileSync(join(folder, name)));
const golden = JSON.parse(readFileSync(join(folder, 'run.json'), 'utf8')) as { losses: number[]; grad_norms: number[] };

/** What a right run gives. */
const right = (): RunResult => ({
  losses: golden.losses,
  gradNorms: golden.grad_norms,
  gradients: bytes('grads.safetensors'),
  weights: bytes('final.safetensors'),
});

/** The same with one element of one gradient a thousandth off. */
function wrong(): RunResult {
  const tensors = [...readSafetensors(bytes('grads.safetensors')).tensors].map(([name, entry], i) => {
    const data = toFloat32(entry).slice();
    if (i === 0) data[5] += 1e-3 * data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    return [name, { dtype: 'F32', shape: entry.shape, data }] as const;
  });
  return { ...right(), gradients: writeSafetensors(tensors) };
}

async function sweep(ranks: number, execute: RunExecutor): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  const { signal } = new AbortController();
  await verifyAllLayouts({
    folder,
    ranks,
    execute,
    sideBySide: 3,
    signal,
    onOutcome: (outcome) => outcomes.push(outcome),
  });
  return outcomes;
}

describe('the list', () => {
  it('has every layout of at most so many ranks once, small ones first', () => {
    expect(everyLayout(1).map(formatLayout)).toEqual(['dp=1']);
    // Ordered factorisations into five factors: 1, 5, 5, 15, 5, 25, 5, 35 for 1 to 8 ranks.
    for (const [ranks, count] of [
      [2, 6],
      [4, 26],
      [8, 96],
    ] as const) {
      const layouts = everyLayout(ranks);
      expect(layouts).toHaveLength(count);
      expect(new Set(layouts.map(formatLayout)).size).toBe(count);
      const sizes = layouts.map(worldSize);
      expect(sizes).toEqual(sizes.toSorted((a, b) => a - b));
      expect(Math.max(...sizes)).toBe(ranks);
    }
  });

  it('has schedules where there is a pipeline, strategies where there is a sequence, and both counts of microbatches', () => {
    const of = (sizes: Parameters<typeof makeLayout>[0]): string[] =>
      variationsOf(folder, makeLayout(sizes)).map((settings) => settings.map(([, value]) => value).join(' '));
    expect(of({})).toEqual(['dp=1 1', 'dp=1 4']);
    expect(of({ dp: 4 })).toEqual(['dp=4 1']);
    expect(of({ sp: 2, dp: 4 })).toEqual(['ring', 'striped', 'zigzag'].map((name) => `dp=4,sp=2 ${name} 1`));
    // With two chunks per rank where the schedule has several.
    const names = [...schedules.values()].map(({ name, defaultChunks }) => (defaultChunks ? `${name} 2` : name));
    expect(names).toEqual(expect.arrayContaining(['1f1b', 'gpipe', 'zb-h1', 'interleaved 2', 'v-half 2']));
    expect(of({ pp: 2, dp: 2 })).toEqual(names.map((name) => `dp=2,pp=2 ${name} 2`));
  });
});

describe('the sweep', () => {
  it('tells of every layout in order, refuses before a start, and finds the one that is wrong', async () => {
    const started: string[] = [];
    const outcomes = await sweep(2, ({ layout, sequence, microbatches }) => {
      const name = `${formatLayout(layout)} ${layout.sp > 1 ? `${sequence} ` : ''}m=${microbatches}`;
      started.push(name);
      return Promise.resolve(name === 'sp=2 zigzag m=4' ? wrong() : right());
    });
    const labels = outcomes.map(({ label }) => label);
    expect(labels).toEqual(everyLayout(2).flatMap((layout) => variationsOf(folder, layout).map(labelOf)));
    const refused = outcomes.filter(({ kind }) => kind === 'refused');
    // No experts to share, and two layers for the four stages of two chunks per rank.
    const [experts, layers] = [/^ep=/, /^pp=2 (interleaved|v-|zb-v)/].map((kind) =>
      refused.filter(({ label }) => kind.test(label)),
    );
    expect(experts!.map(({ label }) => label)).toEqual(['ep=2 m=1', 'ep=2 m=2']);
    expect(layers!.length).toBeGreaterThan(0);
    expect(refused).toHaveLength(experts!.length + layers!.length);
    for (const outcome of experts!)
      expect(outcome).toMatchObject({ reason: expect.stringMatching(/^experts: ep\(2\)/) });
    for (const outcome of layers!) expect(outcome).toMatchObject({ reason: expect.stringMatching(/layers/) });
    expect(started.some((name) => name.startsWith('ep=2'))).toBe(false);
    const failed = outcomes.flatMap((outcome) =>
      outcome.kind === 'run'
        ? outcome.checks.filter(({ passed }) => !passed).map(({ name }) => [outcome.label, name])
        : [],
    );
    expect(failed).toHaveLength(1);
    expect(failed[0]).toEqual(['sp=2 zigzag m=4', expect.stringMatching(/^grad /)]);
  });

  it('ends with what is no difference and no refusal', async () => {
    await expect(sweep(1, () => Promise.reject(new Error('the device is gone')))).rejects.toThrow('the device is gone');
  });
});

function labelOf(settings: readonly (readonly [string, string])[]): string {
  return settings
    .filter(([name]) => name !== 'chunks')
    .map(([name, value]) => (name === 'microbatches' ? `m=${value}` : value))
    .join(' ');
}

describe('the command', () => {
  const io = (lines: string[]) => ({
    out: (line: string) => lines.push(line),
    err: () => undefined,
    signal: new AbortController().signal,
    interactive: false,
    columns: 120,
  });
  it('counts layouts', async () => {
    const lines: string[] = [];
    expect(await run(['verify', folder, '--all-layouts', '--ranks', '1', '--backend', 'cpu'], io(lines))).toBe(0);
    expect(lines.at(-1)).toBe('2 layouts of up to 1 ranks: 2 equal, 0 refused, 0 wrong');
  });
  it.each(['--layout', '--schedule', '--sequence', '--microbatches', '--only'])(
    'runs all, so %s is refused',
    async (name) => {
      const value = { '--layout': 'dp=2', '--schedule': 'gpipe', '--sequence': 'ring' }[name] ?? '2';
      for (const given of [[name, value], [`${name}=${value}`]]) {
        const lines: string[] = [];
        expect(await run(['verify', folder, '--all-layouts', ...given, '--backend', 'cpu'], io(lines))).toBe(2);
        expect(lines).toEqual([]);
      }
    },
  );
  it('is for training runs in this process', async () => {
    const lines: string[] = [];
    await expect(run(['verify', folder, '--all-layouts', '--backend', 'chromium'], io(lines))).resolves.toBe(2);
    expect(lines).toEqual([]);
  });
});

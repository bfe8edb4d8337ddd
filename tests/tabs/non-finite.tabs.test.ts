// One of four real tabs computes NaN in the middle of a run: what comes back from its GPU is spoiled, where the browser
// hands it over. Every tab stops with one error that names it, and the checkpoint that the browsers keep and the one
// that was handed over are those of before.

import { expect, test } from 'vitest';
import type { RankEvent } from '../../workers/protocol.ts';
import { readSafetensors, toFloat32 } from '../../src/base/safetensors.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { PATIENCE_MS } from '../support/patience.ts';
import { RealTabs } from '../support/real-tabs.ts';
import { sample } from '../support/sample.ts';
import type { TabEvent } from '../support/real-tabs.ts';

const VICTIM_TAB = 2;

function rankEvents(events: readonly TabEvent[], tab: number): RankEvent[] {
  return events.flatMap(({ tab: from, report }) =>
    from === tab && report.type === 'rank' ? [report.event as unknown as RankEvent] : [],
  );
}

test.each(sample(['dp=2,pp=2', 'dp=2,tp=2'], 1))('a tab that computes NaN, %s', async (layout) => {
  const config = parseRunConfig([
    ['model', 'gpt2-nano'],
    ['data', 'copy'],
    ['layout', layout],
    ['batch', '8'],
    ['microbatches', '2'],
    ['steps', '100000'],
    ['evalEvery', '0'],
    ['sampleEvery', '0'],
    ['checkpointEvery', '1'],
    ['tune', 'none'],
  ]);
  const tabs = await RealTabs.open(config);
  try {
    await tabs.until('three steps on every tab', PATIENCE_MS, (events) =>
      [0, 1, 2, 3].every((tab) => rankEvents(events, tab).filter(({ kind }) => kind === 'step').length >= 3)
        ? true
        : undefined,
    );
    const victim = tabs.rankOf(VICTIM_TAB)!;
    const [worker] = tabs.pages[VICTIM_TAB]!.workers();
    await worker!.evaluate(() => {
      const { getMappedRange } = GPUBuffer.prototype;
      GPUBuffer.prototype.getMappedRange = function (this: GPUBuffer, ...range) {
        const mapped = getMappedRange.apply(this, range);
        // Activations and gradients, not the few numbers of the norm.
        if (mapped.byteLength >= 4096) new Float32Array(mapped, 0, 1)[0] = NaN;
        return mapped;
      };
    });
    const failures = await tabs.until('a failure on every tab', PATIENCE_MS, (events) => {
      const failed = [0, 1, 2, 3].map(
        (tab) =>
          rankEvents(events, tab).find(({ kind }) => kind === 'failed') as
            Extract<RankEvent, { kind: 'failed' }> | undefined,
      );
      return failed.every((event) => event !== undefined) ? failed : undefined;
    });
    for (const failure of failures)
      expect(failure, failure.message).toMatchObject({ name: 'PeerError', culprit: victim, evidence: 'non-finite' });
    // Whoever hears of it from a third rank says so.
    const said = failures.map(({ message }) => message.replace(/ \(told by rank \d\)$/, ''));
    expect(said).toEqual(said.map(() => said[0]));
    expect(said[0]).toMatch(
      /^rank \d non-finite: (in step \d+ .+; nothing was changed by it|its [\w ]+ hold NaN, so nothing is handed over; the last checkpoint stays)$/,
    );

    // No checkpoint that left rank 0 has a NaN, nor has what its browser keeps.
    const steps = [0, 1, 2, 3]
      .flatMap((tab) => rankEvents(tabs.events, tab))
      .flatMap((event) => (event.kind === 'checkpoint' ? [event.step] : []));
    expect(steps.length).toBeGreaterThanOrEqual(2);
    const stored = await tabs.pages[0]!.evaluate(async () => {
      const bytesOf = async (name: string): Promise<number[]> => {
        const file = await (await (await navigator.storage.getDirectory()).getFileHandle(name)).getFile();
        return [...new Uint8Array(await file.arrayBuffer())];
      };
      const names: string[] = [];
      for await (const name of (
        (await navigator.storage.getDirectory()) as unknown as { keys(): AsyncIterable<string> }
      ).keys())
        names.push(name);
      return Promise.all(names.filter((name) => name.endsWith('.safetensors')).map(bytesOf));
    });
    expect(stored.length).toBeGreaterThan(0);
    for (const bytes of stored)
      for (const entry of readSafetensors(Uint8Array.from(bytes)).tensors.values())
        expect(toFloat32(entry).every(Number.isFinite)).toBe(true);
  } finally {
    await tabs.close();
  }
});

// Files over the mesh: every rank ends with the same bytes, whoever had them before; a peer that lies, stops or dies is
// named; memory stays within what was announced; people are asked and may refuse.

import { describe, expect, it } from 'vitest';
import { FilesError, FormatError, LimitError, PeerError } from '../../../src/base/errors.ts';
import { realWorld } from '../../../src/base/world.ts';
import { allGather } from '../../../src/collectives/all-gather.ts';
import type { Group } from '../../../src/collectives/group.ts';
import { createLedger } from '../../../src/collectives/ledger.ts';
import { createMesh } from '../../../src/collectives/mesh.ts';
import { evenParts } from '../../../src/collectives/parts.ts';
import { CONSENT_BYTES, exchangeFiles } from '../../../src/cluster/files/exchange.ts';
import type { ExchangeOptions } from '../../../src/cluster/files/exchange.ts';
import {
  CHUNK_BYTES,
  checkSum,
  chunkHashes,
  describeFile,
  MAX_SHARED_BYTES,
  parseSharedFile,
} from '../../../src/cluster/files/shared-file.ts';
import type { SharedFile } from '../../../src/cluster/files/shared-file.ts';
import { loopbackMesh } from '../../../src/transport/loopback.ts';
import type { LoopbackNode } from '../../../src/transport/loopback.ts';
import { POINT_CHUNK } from '../../../src/transport/transport.ts';
import { dice } from '../../support/dice.ts';

type Bytes = Uint8Array<ArrayBuffer>;

const noise = (length: number, seed: number): Bytes => dice(seed).bytes(length);

interface Rank {
  readonly rank: number;
  readonly group: Group;
  readonly node: LoopbackNode;
  readonly status: string[];
  readonly exchange: (change?: Partial<ExchangeOptions>) => Promise<ReadonlyMap<string, Bytes>>;
}

/** `size` ranks; `work` of each gets its exchange. Results or errors by rank. */
async function onRanks<T>(
  size: number,
  files: readonly SharedFile[],
  held: readonly (readonly Bytes[])[],
  work: (rank: Rank) => Promise<T>,
): Promise<readonly (T | Error)[]> {
  const byContent = new Map(
    await Promise.all(held.flat().map(async (bytes) => [bytes, (await describeFile('x', bytes)).hash] as const)),
  );
  const nodes = loopbackMesh(size, realWorld);
  const results = await Promise.all(
    nodes.map(async (node) => {
      const mesh = createMesh({
        layout: { pp: 1, dp: size, sp: 1, ep: 1, tp: 1 },
        rank: node.rank,
        links: node.links,
        ledger: createLedger(),
      });
      const group = mesh.scope('files').axis('dp');
      const status: string[] = [];
      const own = new Map((held[node.rank] ?? []).map((bytes) => [byContent.get(bytes)!, bytes]));
      try {
        return await work({
          rank: node.rank,
          group,
          node,
          status,
          exchange: (change) =>
            exchangeFiles({
              group,
              files,
              held: own,
              names: nodes.map(({ rank }) => `tab ${rank}`),
              consent: async () => true,
              onProgress: () => {},
              onStatus: (text) => status.push(text),
              hold: () => {},
              ...change,
            }),
        });
      } catch (error) {
        return error as Error;
      }
    }),
  );
  for (const node of nodes) node.leave();
  return results;
}

const messages = (results: readonly unknown[]): string[] =>
  results.map((result) => (result instanceof Error ? result.message : 'done'));

describe('files reach every rank', () => {
  it('whole, whoever holds them and in whatever order', async () => {
    const random = dice(5);
    for (let round = 0; round < 12; round++) {
      const size = 2 + random.below(4);
      const contents = Array.from({ length: 1 + random.below(3) }, (_, i) =>
        noise(1 + random.below(4 * CHUNK_BYTES), round * 10 + i + 1),
      );
      const files = await Promise.all(contents.map((bytes, i) => describeFile(`file ${i}`, bytes)));
      const held = Array.from({ length: size }, () => contents.filter(() => random.below(5) < 2));
      for (const bytes of contents) if (!held.some((own) => own.includes(bytes))) held[random.below(size)]!.push(bytes);
      const results = await onRanks(size, files, held, ({ exchange }) => exchange());
      for (const result of results) {
        if (result instanceof Error) throw result;
        for (const [i, { hash }] of files.entries())
          expect(Buffer.compare(result.get(hash)!, contents[i]!), `round ${round}, file ${i}`).toBe(0);
      }
    }
  });

  it('with one sending of each chunk by the holder, and progress on the way', async () => {
    const bytes = noise(70 * CHUNK_BYTES + 3, 1);
    const file = await describeFile('text.txt', bytes);
    const seen: number[][] = [[], [], [], []];
    const results = await onRanks(4, [file], [[], [bytes], [], []], async ({ rank, exchange, node, status }) => {
      await exchange({
        onProgress: ({ way, moved, whole, peers }) => {
          expect(whole).toBe(bytes.length);
          expect([way, ...peers]).toEqual(
            rank === 1 ? ['out', 'tab 0 (rank 0)', 'tab 2 (rank 2)', 'tab 3 (rank 3)'] : ['in', 'tab 1 (rank 1)'],
          );
          seen[rank]!.push(moved);
        },
      });
      return { sent: [...node.links.values()].reduce((sum, { stats }) => sum + stats.payloadSent, 0), status };
    });
    const [first, holder] = results as { sent: number; status: string[] }[];
    expect(holder!.sent).toBeGreaterThan(bytes.length);
    expect(holder!.sent).toBeLessThan(bytes.length * 1.01);
    expect(first!.status.at(-1)).toBe('receiving text.txt from tab 1 (rank 1)');
    expect(holder!.status).toEqual(['sending text.txt to tab 0 (rank 0), tab 2 (rank 2), tab 3 (rank 3)']);
    for (const moved of seen) {
      expect(moved).toHaveLength(72);
      expect([moved[0], moved.at(-1)]).toEqual([0, bytes.length]);
      expect(moved.toSorted((a, b) => a - b)).toEqual(moved);
    }
  });

  it('of several holders each counts its share', async () => {
    const bytes = noise(5 * CHUNK_BYTES + 7, 2);
    const file = await describeFile('text.txt', bytes);
    const last: [string, number, number][] = [];
    await onRanks(4, [file], [[bytes], [bytes], [], [bytes]], async ({ rank, exchange }) =>
      exchange({
        onProgress: ({ way, moved, whole }) => {
          last[rank] = [way, moved, whole];
        },
      }),
    );
    expect(last).toEqual([
      ['out', 2 * CHUNK_BYTES, 2 * CHUNK_BYTES],
      ['out', 2 * CHUNK_BYTES, 2 * CHUNK_BYTES],
      ['in', bytes.length, bytes.length],
      ['out', CHUNK_BYTES + 7, CHUNK_BYTES + 7],
    ]);
  });

  it('does not send what all have', async () => {
    const bytes = noise(1000, 1);
    const results = await onRanks(
      3,
      [await describeFile('a', bytes)],
      [[bytes], [bytes], [bytes]],
      async ({ exchange, node }) => {
        await exchange();
        return [...node.links.values()].reduce((sum, { stats }) => sum + stats.payloadSent, 0);
      },
    );
    expect(results).toEqual([16, 16, 16]);
  });
});

describe('people', () => {
  const large = noise(CONSENT_BYTES + 1, 1);
  const small = noise(1000, 2);

  it('are asked above 20 MB, and a refusal ends it for all with a sentence', async () => {
    const files = [await describeFile('text.txt', large), await describeFile('tokenizer.json', small)];
    const asked: unknown[] = [];
    const results = await onRanks(3, files, [[large, small], [small], [large]], ({ rank, exchange }) =>
      exchange({
        consent: async (download) => {
          asked.push([rank, download.bytes, download.files.map(({ name }) => name)]);
          return false;
        },
      }),
    );
    expect(asked).toEqual([[1, CONSENT_BYTES + 1, ['text.txt']]]);
    for (const result of results) expect(result).toBeInstanceOf(FilesError);
    expect(new Set(messages(results))).toEqual(
      new Set(['files: tab 1 (rank 1) refused to download 20 MB ("text.txt"); train without that tab']),
    );
  });

  it('hear for whom they wait, and no deadline runs meanwhile', async () => {
    const file = await describeFile('text.txt', large);
    const held: boolean[] = [];
    let agree = (_: boolean): void => {};
    const results = await onRanks(2, [file], [[large], []], async ({ rank, exchange, status }) => {
      if (rank === 0) setTimeout(() => agree(true), 50);
      await exchange({
        consent: () =>
          new Promise((resolve) => {
            agree = resolve;
          }),
        hold: (on) => {
          if (rank === 0) held.push(on);
        },
      });
      return status;
    });
    expect((results[0] as string[])[0]).toBe('waiting for tab 1 (rank 1) to agree to a download of 20 MB');
    expect(held).toEqual([true, false]);
  });

  it('hear on every rank alike that a file is nowhere', async () => {
    const results = await onRanks(
      3,
      [await describeFile('text.txt', large), await describeFile('b', small)],
      [[small], [], []],
      ({ exchange }) =>
        exchange({
          consent: async () => {
            throw new Error('nobody is asked for what cannot be had');
          },
        }),
    );
    expect(new Set(messages(results))).toEqual(
      new Set(['files: "text.txt" is on no tab of this group; whoever has it must take part']),
    );
  });
});

/** What a rank that keeps to the protocol so far does, up to the list of hashes; then `evil`. */
async function pretend({ group }: Rank, has: number, evil: (group: Group) => Promise<void>): Promise<void> {
  for (const own of [has, 1])
    await allGather(group, Uint32Array.of(own), evenParts(group.size, group.size), new Uint32Array(group.size));
  await evil(group);
}

async function sendHashes(group: Group, hashes: Uint8Array<ArrayBuffer>): Promise<void> {
  const operation = group.begin('send');
  operation.sign({ dtype: 'u32' });
  await Promise.all(
    group.ranks.map((_, to) => (to === group.rank ? undefined : operation.send(to, 0, new Uint32Array(hashes.buffer)))),
  );
}

describe('a peer that breaks the rules is named', () => {
  const bytes = noise(5 * CHUNK_BYTES, 3);
  const cases: [string, (rank: Rank) => Promise<void>, RegExp][] = [
    [
      'another list of hashes',
      (rank) => pretend(rank, 1, (group) => sendHashes(group, new Uint8Array(5 * 32))),
      /^rank 1 corrupt: its hashes of "text.txt" are not the file's$/,
    ],
    [
      'a wrong chunk',
      (rank) =>
        pretend(rank, 1, async (group) => {
          await sendHashes(group, await chunkHashes(bytes));
          const operation = group.begin('send');
          operation.sign({ dtype: 'u32' });
          await operation.send(0, 0, new Uint32Array(CHUNK_BYTES / 4));
        }),
      /^rank 1 corrupt: chunk 0 of "text.txt" that it sent is not the file's$/,
    ],
    [
      'more bytes than announced',
      (rank) =>
        pretend(rank, 1, async (group) => {
          await sendHashes(group, await chunkHashes(bytes));
          const operation = group.begin('send');
          operation.sign({ dtype: 'u32' });
          await operation.send(0, 0, new Uint32Array(CHUNK_BYTES / 4 + 1));
        }),
      /^rank 1 wrong-signature: .*u32\[65536\].*u32\[65537\]/,
    ],
    [
      'chunks that were sent before',
      (rank) =>
        pretend(rank, 1, async (group) => {
          await sendHashes(group, await chunkHashes(bytes));
          const link = rank.node.links.get(0)!;
          // The same message again and again, beside any operation that awaits it.
          for (let i = 0; i < 400; i++)
            void link
              .send({ group: group.id, seq: 7, chunk: POINT_CHUNK, kind: 'send' }, new Uint32Array(CHUNK_BYTES / 4))
              .catch(() => undefined);
          await link.failed;
        }),
      /^rank 1 corrupt: it sent .* again or out of order$/,
    ],
    [
      'that has files which do not exist',
      (rank) => pretend(rank, 6, async () => {}),
      /^rank 1 corrupt: it told 6 of the files of the run, which cannot be$/,
    ],
    [
      'its death in the middle',
      (rank) =>
        pretend(rank, 1, async (group) => {
          await sendHashes(group, await chunkHashes(bytes));
          const operation = group.begin('send');
          operation.sign({ dtype: 'u32' });
          await operation.send(0, 0, new Uint32Array(bytes.buffer, 0, CHUNK_BYTES / 4));
          // Chunk 0 has arrived when it has come back from the rank that got it first.
          await new Promise((resolve) => {
            setTimeout(resolve, 20);
          });
          rank.node.kill('the tab is gone');
        }),
      /^rank 1 closed: .*the tab is gone.*; it was sending "text.txt", of which 262 kB of 1.3 MB are here$/,
    ],
  ];

  it.each(cases)('%s', async (_, evil, sentence) => {
    const file = await describeFile('text.txt', bytes);
    const results = await onRanks(2, [file], [[], [bytes]], async (rank): Promise<unknown> =>
      rank.rank === 1 ? evil(rank) : rank.exchange(),
    );
    expect((results[0] as Error).message).toMatch(sentence);
    expect(results[0]).toBeInstanceOf(PeerError);
  });

  it('a fellow that passes on a wrong chunk, and not the holder', async () => {
    const file = await describeFile('text.txt', bytes);
    const results = await onRanks(3, [file], [[bytes], [], []], async (rank): Promise<unknown> =>
      rank.rank === 2
        ? pretend(rank, 0, async (group) => {
            const list = group.begin('send');
            list.sign({ dtype: 'u32' });
            await list.recv(0, 0, new Uint32Array(5 * 8));
            const operation = group.begin('send');
            operation.sign({ dtype: 'u32' });
            // Of the receivers 1 and 2, rank 2 takes the odd chunks and passes them on.
            await operation.send(1, 1, new Uint32Array(CHUNK_BYTES / 4));
            await rank.node.links.get(1)!.failed;
          })
        : rank.exchange(),
    );
    expect((results[1] as Error).message).toBe('rank 2 corrupt: chunk 1 of "text.txt" that it sent is not the file\'s');
  });
});

describe('what a job says of files', () => {
  it('is read strictly, and refused by name above 2 GB in all', () => {
    const hash = 'ab'.repeat(32);
    expect(parseSharedFile({ name: 'a', bytes: 1, hash }, 'text')).toEqual({ name: 'a', bytes: 1, hash });
    for (const bad of [
      null,
      [],
      'a',
      {},
      { name: '', bytes: 1, hash },
      { name: 'a'.repeat(121), bytes: 1, hash },
      { name: 'a', bytes: 0, hash },
      { name: 'a', bytes: 1.5, hash },
      { name: 'a', bytes: '1', hash },
      { name: 'a', bytes: 1, hash: 'AB'.repeat(32) },
      { name: 'a', bytes: 1, hash, more: 1 },
    ])
      expect(() => parseSharedFile(bad, 'text'), JSON.stringify(bad)).toThrow(FormatError);
    checkSum([
      { name: 'a', bytes: MAX_SHARED_BYTES - 1, hash },
      { name: 'b', bytes: 1, hash },
    ]);
    expect(() =>
      checkSum([
        { name: 'a', bytes: MAX_SHARED_BYTES - 1, hash },
        { name: 'b', bytes: 2, hash },
      ]),
    ).toThrow(LimitError);
    expect(() =>
      checkSum([
        { name: 'a', bytes: MAX_SHARED_BYTES - 1, hash },
        { name: 'b', bytes: 2, hash },
      ]),
    ).toThrow('expected at most 2.1 GB in all, got 2.1 GB, of which "a" has 2.1 GB');
  });

  it('is the hash of the list of hashes: a byte, a length or an order more is another file', async () => {
    const bytes = noise(2 * CHUNK_BYTES, 4);
    const of = async (content: Bytes): Promise<string> => (await describeFile('x', content)).hash;
    const swapped = new Uint8Array([...bytes.subarray(CHUNK_BYTES), ...bytes.subarray(0, CHUNK_BYTES)]);
    const flipped = bytes.slice();
    flipped[CHUNK_BYTES + 5]! ^= 1;
    const hashes = await Promise.all(
      [bytes, swapped, flipped, bytes.subarray(0, -1), new Uint8Array([...bytes, 0])].map(of),
    );
    expect(new Set(hashes).size).toBe(5);
    await expect(describeFile('empty.txt', new Uint8Array(0))).rejects.toThrow('empty.txt: expected 1 B to 2.1 GB');
  });
});

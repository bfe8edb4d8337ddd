// The files of a run that lie on some of its tabs alone: brought here over the links before anything else, then text,
// tokens and weights are made of them. Making them may keep this thread busy for long, so all ranks bear each other's
// silence from before the first of them begins until the last is through; a tab that closes or crashes is noticed all
// the same.

import { decodeUtf8 } from '../src/base/json.ts';
import { barrier } from '../src/collectives/barrier.ts';
import type { Mesh } from '../src/collectives/mesh.ts';
import { exchangeFiles } from '../src/cluster/files/exchange.ts';
import type { Progress } from '../src/cluster/files/exchange.ts';
import type { World } from '../src/base/world.ts';
import type { RunFiles } from '../src/train/prepare.ts';
import type { Link } from '../src/transport/transport.ts';
import type { RankEvent, SharedFiles } from './protocol.ts';

/** A thread that makes tokens of a large text gives no sign of life for so long at most. */
const BUSY_MS = 20 * 60_000;
const PROGRESS_MS = 250;
const TEXTS: readonly string[] = ['modelConfig', 'tokenizer', 'tokenizerConfig'] satisfies (keyof RunFiles)[];

export interface BringOptions {
  readonly shared: SharedFiles;
  readonly mesh: Mesh;
  readonly links: readonly Link[];
  readonly world: World;
  readonly silentMs: number;
  readonly hold: (on: boolean) => void;
  readonly tell: (event: RankEvent) => void;
  /** The person's answer to an event `download`. */
  readonly agreed: () => Promise<boolean>;
}

/**
 * Resolves to what `make` makes of the shared files, when all ranks have made it. Rejects as exchangeFiles and `make`
 * do.
 */
export async function withSharedFiles<T>(
  { shared, mesh, links, world, silentMs, hold, tell, agreed }: BringOptions,
  make: (files: RunFiles) => T,
): Promise<T> {
  for (const link of links) link.allowSilence(BUSY_MS);
  const distinct = [...new Map(shared.files.map((file) => [file.hash, file])).values()];
  const whole = await exchangeFiles({
    group: mesh.scope('files').world,
    files: distinct,
    held: shared.held,
    names: shared.names,
    hold,
    consent: ({ files, bytes }) => {
      tell({ kind: 'download', files: files.map(({ name }) => name), total: bytes });
      return agreed();
    },
    onProgress: paced(world, tell),
    onStatus: (text) => tell({ kind: 'status', text }),
  });
  hold(true);
  for (const { hash, name } of distinct)
    if (!shared.held.has(hash))
      tell({ kind: 'file', file: { name, hash, bytes: whole.get(hash)!.length }, content: whole.get(hash)! });
  tell({ kind: 'status', text: 'preparing text, tokens and weights' });
  const made = make(
    Object.fromEntries(
      shared.files.map(({ field, hash, name }) => [
        field,
        TEXTS.includes(field) ? decodeUtf8(whole.get(hash)!, name) : whole.get(hash)!,
      ]),
    ),
  );
  await barrier(mesh.world);
  for (const link of links) link.allowSilence(silentMs);
  return made;
}

/** A few times a second is enough for people; the first and the last are told whatever the time. */
function paced(world: World, tell: (event: RankEvent) => void): (progress: Progress) => void {
  let toldAtMs = -Infinity;
  return (progress) => {
    const { moved, whole, file } = progress;
    if (moved > 0 && moved < whole && world.now() - toldAtMs < PROGRESS_MS) return;
    toldAtMs = world.now();
    tell({ kind: 'progress', ...progress, file: { name: file.name, bytes: file.bytes, hash: file.hash } });
  };
}

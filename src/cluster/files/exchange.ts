// Brings the files of a run to every rank over the links of its group. All ranks call it alike; who has what is told
// first, so everything that follows is known to all and needs no requests:
// 1. each rank tells which files it has; 2. who must fetch more than CONSENT_BYTES asks its person; 3. file by file and
// chunk by chunk: a holder sends chunk c to one of those who lack the file (each in turn), who checks it and passes it
// on to the others. So a holder sends a file once, whatever the number of those who lack it, several holders share the
// work, and whoever passes on a wrong chunk is its culprit, since it has checked what it got. Memory: the announced
// bytes of the files, and what the links hold. Nothing is in flight but the chunks of one file. Every SPAN chunks are
// an operation of their own: the deadline of an operation is for so much, not for a file.

import { FilesError, PeerError } from '../../base/errors.ts';
import { formatBytes } from '../../base/format-bytes.ts';
import { allGather } from '../../collectives/all-gather.ts';
import type { Group, Operation } from '../../collectives/group.ts';
import { evenParts } from '../../collectives/parts.ts';
import { CHUNK_BYTES, chunkCount, chunkHashes, chunkOf, HASH_BYTES, hashOfList, sha256Of } from './shared-file.ts';
import type { SharedFile } from './shared-file.ts';

type Bytes = Uint8Array<ArrayBuffer>;

/** A person is asked before a download of more than this, in all. */
export const CONSENT_BYTES = 20_000_000;
/** Chunks of one operation: 8 MiB, well within the credits of a link. */
const SPAN = 32;

/** How far a file is at this rank. */
export interface Progress {
  readonly file: SharedFile;
  /** 'in': it comes, and `moved` counts bytes that are here and checked. 'out': this rank hands its share of it out. */
  readonly way: 'in' | 'out';
  /** Bytes, of `whole`. */
  readonly moved: number;
  readonly whole: number;
  /** From whom it comes, or to whom it goes: names of tabs with their ranks. */
  readonly peers: readonly string[];
}

/** What a rank must fetch. */
export interface Download {
  readonly files: readonly SharedFile[];
  readonly bytes: number;
}

export interface ExchangeOptions {
  /** All ranks; used for nothing else. */
  readonly group: Group;
  /** The same list on every rank; no two of one hash, at most 32. */
  readonly files: readonly SharedFile[];
  /** What this rank has, by hash. */
  readonly held: ReadonlyMap<string, Bytes>;
  /** Names of the ranks' tabs. */
  readonly names: readonly string[];
  /** Asked for a download of more than CONSENT_BYTES. */
  readonly consent: (download: Download) => Promise<boolean>;
  readonly onProgress: (progress: Progress) => void;
  /** One sentence for people. */
  readonly onStatus: (text: string) => void;
  /** Waiting for people has no limit, transfers have. */
  readonly hold: (on: boolean) => void;
}

/**
 * Resolves when every file is here, by hash. Rejects on all ranks alike with FilesError when a file is on none of them
 * or a person refused; with PeerError when a rank is lost or sends something else than it should, which names it.
 */
export async function exchangeFiles(options: ExchangeOptions): Promise<ReadonlyMap<string, Bytes>> {
  const { group, files, held, names, consent, onStatus, hold } = options;
  const title = (rank: number): string => (names[rank] ? `${names[rank]} (rank ${rank})` : `rank ${rank}`);
  const has = await tell(
    group,
    files.reduce((mask, { hash }, i) => (held.has(hash) ? mask | (1 << i) : mask), 0) >>> 0,
    (mask) => mask < 2 ** files.length,
  );
  const holders = files.map((_, i) => group.ranks.map((_, rank) => rank).filter((rank) => (has[rank]! >>> i) & 1));
  const downloads = group.ranks.map((_, rank): Download => {
    const lacking = files.filter((_, i) => !holders[i]!.includes(rank));
    return { files: lacking, bytes: lacking.reduce((sum, { bytes }) => sum + bytes, 0) };
  });
  const nowhere = files.filter((_, i) => holders[i]!.length === 0);
  const asks = (rank: number): boolean => nowhere.length === 0 && downloads[rank]!.bytes > CONSENT_BYTES;
  const asking = group.ranks.map((_, rank) => rank).filter((rank) => rank !== group.rank && asks(rank));
  if (asking.length > 0)
    onStatus(
      `waiting for ${asking.map((rank) => `${title(rank)} to agree to a download of ${formatBytes(downloads[rank]!.bytes)}`).join(', ')}`,
    );
  hold(true);
  const agreed = await tell(
    group,
    !asks(group.rank) || (await consent(downloads[group.rank]!)) ? 1 : 0,
    (answer) => answer <= 1,
  );
  hold(false);
  if (nowhere.length > 0)
    throw new FilesError(
      `${list(nowhere)} ${nowhere.length > 1 ? 'are' : 'is'} on no tab of this group; whoever has ${nowhere.length > 1 ? 'them' : 'it'} must take part`,
    );
  const refused = agreed.indexOf(0);
  if (refused >= 0)
    throw new FilesError(
      `${title(refused)} refused to download ${formatBytes(downloads[refused]!.bytes)} (${list(downloads[refused]!.files)}); train without that tab`,
    );

  const whole = new Map(held);
  for (const [i, file] of files.entries()) {
    const receivers = group.ranks.map((_, rank) => rank).filter((rank) => !holders[i]!.includes(rank));
    if (receivers.length > 0)
      whole.set(file.hash, await transfer(options, { file, holders: holders[i]!, receivers, title }));
  }
  return whole;
}

interface Transfer {
  readonly file: SharedFile;
  readonly holders: readonly number[];
  readonly receivers: readonly number[];
  title(rank: number): string;
}

async function transfer(
  { group, held, onProgress, onStatus }: ExchangeOptions,
  { file, holders, receivers, title }: Transfer,
): Promise<Bytes> {
  const me = group.rank;
  const chunks = chunkCount(file.bytes);
  const receives = receivers.includes(me);
  // A message has whole words; what follows the last byte is not looked at.
  const target = receives ? new Uint8Array(Math.ceil(file.bytes / 4) * 4) : held.get(file.hash)!;
  const bytes = receives ? target.subarray(0, file.bytes) : target;
  const peers = (receives ? holders : receivers).map(title);
  onStatus(
    receives ? `receiving ${file.name} from ${peers.join(', ')}` : `sending ${file.name} to ${peers.join(', ')}`,
  );
  let moved = 0;
  const whole = receives ? file.bytes : shareOf(file.bytes, holders, me);
  const progress = (bytesMore: number): void => {
    moved += bytesMore;
    // Where more hold the file than it has chunks, some send none.
    if (whole > 0) onProgress({ file, way: receives ? 'in' : 'out', moved, whole, peers });
  };
  progress(0);
  try {
    const hashes = await shareHashes(group, file, bytes, holders[0]!, receivers);
    for (let first = 0; first < chunks; first += SPAN) {
      const operation = begin(group);
      const span = Array.from({ length: Math.min(SPAN, chunks - first) }, (_, i) => first + i);
      await Promise.all(
        span.map(async (chunk) => {
          const [holder, taker] = [holders[chunk % holders.length]!, receivers[chunk % receivers.length]!];
          const from = taker === me ? holder : taker;
          if (holder === me) {
            await operation.send(taker, chunk, words(target, chunk));
            progress(chunkOf(bytes, chunk).length);
          }
          if (!receives) return;
          await operation.recv(from, chunk, words(target, chunk));
          const wanted = hashes.subarray(chunk * HASH_BYTES, (chunk + 1) * HASH_BYTES);
          if (sha256Of(chunkOf(bytes, chunk)).some((byte, i) => byte !== wanted[i]))
            throw group.accuse(from, `chunk ${chunk} of "${file.name}" that it sent is not the file's`);
          progress(chunkOf(bytes, chunk).length);
          if (taker === me)
            await Promise.all(
              receivers
                .filter((other) => other !== me)
                .map((other) => operation.send(other, chunk, words(target, chunk))),
            );
        }),
      );
    }
  } catch (error) {
    if (
      error instanceof PeerError &&
      LOST.has(error.evidence) &&
      receives &&
      holders.includes(group.ranks.indexOf(error.culprit))
    ) {
      const detail = error.message.slice(`rank ${error.culprit} ${error.evidence}: `.length);
      throw new PeerError(
        error.culprit,
        error.evidence,
        `${detail}; it was sending "${file.name}", of which ${formatBytes(moved)} of ${formatBytes(file.bytes)} are here`,
        { cause: error },
      );
    }
    throw error;
  }
  return bytes;
}

/** Bytes of the chunks that the holder `me` sends. */
function shareOf(bytes: number, holders: readonly number[], me: number): number {
  let share = 0;
  for (let chunk = 0; chunk < chunkCount(bytes); chunk++)
    if (holders[chunk % holders.length] === me) share += Math.min(CHUNK_BYTES, bytes - chunk * CHUNK_BYTES);
  return share;
}

const LOST: ReadonlySet<PeerError['evidence']> = new Set(['closed', 'left', 'silent', 'slow', 'crashed']);

/** The list of the hashes of all chunks, from the first holder to all who lack the file. */
async function shareHashes(
  group: Group,
  file: SharedFile,
  bytes: Bytes,
  holder: number,
  receivers: readonly number[],
): Promise<Uint8Array> {
  const operation = begin(group);
  if (group.rank === holder) {
    const hashes = await chunkHashes(bytes);
    await Promise.all(receivers.map((to) => operation.send(to, 0, new Uint32Array(hashes.buffer))));
  }
  if (!receivers.includes(group.rank)) return new Uint8Array(0);
  const hashes = new Uint8Array(chunkCount(file.bytes) * HASH_BYTES);
  await operation.recv(holder, 0, new Uint32Array(hashes.buffer));
  if (hashOfList(hashes) !== file.hash) throw group.accuse(holder, `its hashes of "${file.name}" are not the file's`);
  return hashes;
}

function begin(group: Group): Operation {
  const operation = group.begin('send');
  operation.sign({ dtype: 'u32' });
  return operation;
}

/** A chunk as it travels: in place where it can be, else a copy with zeros behind. */
function words(bytes: Bytes, chunk: number): Uint32Array<ArrayBuffer> {
  const part = chunkOf(bytes, chunk);
  if (part.byteOffset % 4 === 0 && part.length % 4 === 0)
    return new Uint32Array(part.buffer, part.byteOffset, part.length / 4);
  const padded = new Uint8Array(Math.ceil(part.length / 4) * 4);
  padded.set(part);
  return new Uint32Array(padded.buffer);
}

/** One number of every member, by rank. */
async function tell(group: Group, own: number, possible: (value: number) => boolean): Promise<readonly number[]> {
  const all = new Uint32Array(group.size);
  await allGather(group, Uint32Array.of(own), evenParts(group.size, group.size), all);
  for (const [rank, value] of all.entries())
    if (!possible(value)) throw group.accuse(rank, `it told ${value} of the files of the run, which cannot be`);
  return [...all];
}

function list(files: readonly SharedFile[]): string {
  return files.map(({ name }) => `"${name}"`).join(', ');
}

// How the packets of a connection travel, from its statistics: the candidate pair that ICE has chosen.

import type { StatsSource } from './pipes.ts';

export type StatsEntry = Readonly<Record<string, unknown>>;
export type StatsEntries = ReadonlyMap<string, StatsEntry>;

/** By id; undefined where the browser refuses, as some do on a closed connection. */
export async function readStats(source: StatsSource): Promise<StatsEntries | undefined> {
  try {
    const entries = new Map<string, StatsEntry>();
    (await source.getStats()).forEach((entry: StatsEntry, id: string) => entries.set(id, entry));
    return entries;
  } catch {
    return undefined;
  }
}

/** The chosen pair; undefined before there is one. */
export function selectedPair(entries: StatsEntries): StatsEntry | undefined {
  const found = [...entries.values()];
  const id = found.find(({ type }) => type === 'transport')?.['selectedCandidatePairId'];
  // The second is Firefox's way to say it.
  return (
    entries.get(String(id)) ?? found.find((entry) => entry['type'] === 'candidate-pair' && entry['selected'] === true)
  );
}

/** The kind of a candidate of a pair: host, srflx, prflx or relay; 'unknown' where the browser does not tell. */
export function candidateType(entries: StatsEntries, id: unknown): string {
  const type = entries.get(String(id))?.['candidateType'];
  return typeof type === 'string' && type ? type : 'unknown';
}

/**
 * 'host' and 'prflx' in one network, 'srflx' through a NAT, 'relay' over a TURN server at either end; undefined before
 * it connects.
 */
export function pathOf(entries: StatsEntries): string | undefined {
  const pair = selectedPair(entries);
  if (!pair) return undefined;
  const [local, remote] = [pair['localCandidateId'], pair['remoteCandidateId']].map((id) => candidateType(entries, id));
  return remote === 'relay' ? 'relay' : local;
}

/**
 * Reads the path when ICE has connected and whenever it is asked for, and answers with what is known by then:
 * statistics come a moment later.
 */
export function watchPath(source: StatsSource): () => string | undefined {
  let path: string | undefined;
  const look = (): void => {
    void readStats(source).then((entries) => {
      path = (entries && pathOf(entries)) ?? path;
    });
  };
  source.addEventListener?.('iceconnectionstatechange', look);
  look();
  return () => {
    look();
    return path;
  };
}

// What the page shows of its links to other tabs: the doctor's words for each, and one line for all. Pure; no DOM.

import { isConnected } from '../../cluster/ice/diagnosis.ts';
import type { IceDiagnosis } from '../../cluster/ice/diagnosis.ts';

export interface ConnectionView extends IceDiagnosis {
  readonly rank: number;
  /** The tab at the other end, for people. */
  readonly name: string;
  /** 'good': connected; 'wait': nothing to complain about yet; 'bad': with advice. */
  readonly health: 'good' | 'wait' | 'bad';
}

/** `members` by rank. */
export function viewConnections(
  diagnoses: ReadonlyMap<number, IceDiagnosis>,
  members: readonly { readonly name: string }[],
): ConnectionView[] {
  return [...diagnoses]
    .sort(([a], [b]) => a - b)
    .map(([rank, diagnosis]) => ({
      ...diagnosis,
      rank,
      name: members[rank]?.name ?? '',
      health: isConnected(diagnosis) ? 'good' : diagnosis.verdict === 'connecting' ? 'wait' : 'bad',
    }));
}

/** 'connected to rank 2: direct (host), 0.6 ms'. */
export function connectionLine({ rank, text, health }: ConnectionView): string {
  return health === 'good'
    ? `connected to rank ${rank}: ${text}`
    : health === 'wait'
      ? `connecting to rank ${rank}`
      : `no connection to rank ${rank}: ${text}`;
}

/** 'connected to 3 of 3 tabs, 1 of them over a TURN server'. */
export function connectionSummary(connections: readonly ConnectionView[]): string {
  const good = connections.filter(({ health }) => health === 'good');
  if (connections.length === 1 && connections[0]!.health !== 'bad') return connectionLine(connections[0]!);
  const relayed = good.filter(({ verdict }) => verdict === 'relayed').length;
  return `connected to ${good.length} of ${connections.length} tabs${relayed > 0 ? `, ${relayed} of them over a TURN server` : ''}`;
}

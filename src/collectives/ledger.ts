// Counts what this rank sent, by receiver, kind and group: payload and framing apart. Formulas of the collectives'
// headers are checked against payload with exact equality. Framing counts the headers of data frames; heartbeats,
// grants and the like are in LinkStats only.

import type { Ledger } from './group.ts';

export interface LedgerRow {
  readonly to: number;
  readonly kind: string;
  readonly group: string;
  readonly payload: number;
  readonly framing: number;
  readonly messages: number;
}

export interface LedgerBook extends Ledger {
  /** One row for each (receiver, kind, group) that was sent to, in order of first use. */
  rows(): LedgerRow[];
  /** Starts from zero, for the bytes of one step. */
  reset(): void;
}

export function createLedger(): LedgerBook {
  const rows = new Map<string, { -readonly [K in keyof LedgerRow]: LedgerRow[K] }>();
  return {
    record({ to, kind, group, payload, framing }) {
      const key = `${to} ${kind} ${group}`;
      const row = rows.get(key);
      if (!row) {
        rows.set(key, { to, kind, group, payload, framing, messages: 1 });
        return;
      }
      row.payload += payload;
      row.framing += framing;
      row.messages++;
    },
    sentByKind() {
      const sums: Record<string, number> = {};
      for (const { kind, payload } of rows.values()) sums[kind] = (sums[kind] ?? 0) + payload;
      return sums;
    },
    rows: () => [...rows.values()].map((row) => ({ ...row })),
    reset: () => rows.clear(),
  };
}

// Which tokens of a row each rank of the sequence group holds. A context that does not divide is padded at its end: a
// padding token has no column, sees nothing, is seen by nothing and has no target.

import { InternalError } from '../../base/errors.ts';

export interface TokenPlacement {
  readonly name: string;
  /** Tokens per row on each of `size` ranks, padding included. */
  tokens(size: number, context: number): number;
  /** The column at place `t` of `rank`; may lie at or beyond the context, which is padding. */
  column(rank: number, t: number, size: number, context: number): number;
}

/** Rank r holds the r-th run of tokens. */
export const contiguous: TokenPlacement = {
  name: 'contiguous',
  tokens: (size, context) => Math.ceil(context / size),
  column: (rank, t, size, context) => rank * Math.ceil(context / size) + t,
};

/**
 * Of 2 P chunks rank r holds chunk r and chunk 2 P - 1 - r, so that every rank has the same share of a causal mask.
 * Source: Zhu 2024 (zigzag ring flash attention); Brandon et al. 2023 (Striped Attention) for the idea.
 */
export const zigzag: TokenPlacement = {
  name: 'zigzag',
  tokens: (size, context) => 2 * Math.ceil(context / (2 * size)),
  column(rank, t, size, context) {
    const chunk = Math.ceil(context / (2 * size));
    return t < chunk ? rank * chunk + t : (2 * size - 1 - rank) * chunk + t - chunk;
  },
};

/** Rank r holds every P-th token from the r-th on. Source: Brandon et al. 2023 (Striped Attention). */
export const striped: TokenPlacement = {
  name: 'striped',
  tokens: (size, context) => Math.ceil(context / size),
  column: (rank, t, size) => t * size + rank,
};

/** Columns that `rank` holds, [tokens]; -1 is padding. */
export function columnsOf(
  placement: TokenPlacement,
  rank: number,
  size: number,
  context: number,
): Int32Array<ArrayBuffer> {
  return Int32Array.from({ length: placement.tokens(size, context) }, (_, t) => {
    const column = placement.column(rank, t, size, context);
    return column < context ? column : -1;
  });
}

/** The rank that holds `column`, and its place there. */
export function holderOf(
  placement: TokenPlacement,
  column: number,
  size: number,
  context: number,
): { readonly rank: number; readonly place: number } {
  for (let rank = 0; rank < size; rank++) {
    const place = columnsOf(placement, rank, size, context).indexOf(column);
    if (place >= 0) return { rank, place };
  }
  throw new InternalError(`${placement.name}: no rank of ${size} holds column ${column} of ${context}`);
}

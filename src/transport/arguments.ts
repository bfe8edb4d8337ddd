// What the ranks of one collective must agree on besides kind, dtype and count, in the 16 bits that every frame
// carries: so that two ranks that call all-reduce with another reduction or wire format fail at once with both sides'
// words, instead of adding what does not belong together.
// bits 0-2 wire format | 3-5 reduction | 6-8 route | 9-15 1 + root mod 127; zero means plain f32, or that the call has
// no such argument.

export const WIRE_FORMATS = ['f32', 'f16', 'bf16', 'int8'] as const;
/** How f32 numbers travel; see collectives/wire-format. */
export type WireFormat = (typeof WIRE_FORMATS)[number];

export const REDUCTIONS = ['sum', 'max', 'min', 'mean'] as const;
export type Reduction = (typeof REDUCTIONS)[number];

/**
 * direct: to each member (an owner hears each peer separately). ring: round by neighbours. chain: along the members
 * from the root. exchange: all to all of them.
 */
export const ROUTES = ['direct', 'ring', 'chain', 'exchange'] as const;
export type Route = (typeof ROUTES)[number];

export interface CallArguments {
  readonly wire?: WireFormat;
  readonly reduction?: Reduction;
  readonly route?: Route;
  readonly root?: number;
}

const place = <T>(list: readonly T[], value: T | undefined): number =>
  value === undefined ? 0 : list.indexOf(value) + 1;

export function encodeArguments({ wire, reduction, route, root }: CallArguments): number {
  return (
    Math.max(0, WIRE_FORMATS.indexOf(wire ?? 'f32')) |
    (place(REDUCTIONS, reduction) << 3) |
    (place(ROUTES, route) << 6) |
    ((root === undefined ? 0 : 1 + (root % 127)) << 9)
  );
}

/** Words for any 16 bits, also those that no version of ours writes: 'sum, f16, ring, root 2'; empty for none. */
export function describeArguments(bits: number): string {
  const name = (list: readonly string[], at: number): string | undefined =>
    at === 0 ? undefined : (list[at - 1] ?? `unknown ${at}`);
  const root = bits >> 9;
  return [
    name(REDUCTIONS, (bits >> 3) & 7),
    name(WIRE_FORMATS.slice(1), bits & 7),
    name(ROUTES, (bits >> 6) & 7),
    root === 0 ? undefined : `root ${root - 1}`,
  ]
    .filter((word) => word !== undefined)
    .join(', ');
}

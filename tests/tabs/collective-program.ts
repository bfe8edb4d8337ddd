// What the test and its tabs say to each other, and the program that every tab runs in its worker.

/**
 * `forever`: all-reduces until something fails. Otherwise so many rounds of all-reduce, all-gather and broadcast, then
 * a barrier.
 */
export interface Program {
  readonly rounds: number | 'forever';
  readonly count: number;
}

export type CollectiveReport =
  | { readonly kind: 'open' }
  | { readonly kind: 'step'; readonly done: number }
  | {
      readonly kind: 'done';
      readonly ms: number;
      readonly wrong: number;
      readonly sent: number;
      readonly formula: number;
    }
  /** `atMs`: Unix time in the worker when it knew. */
  | {
      readonly kind: 'failed';
      readonly name: string;
      readonly message: string;
      readonly culprit: number;
      readonly evidence: string;
      readonly atMs: number;
      readonly wrong: number;
      readonly timeline: string;
    }
  | { readonly kind: 'error'; readonly message: string };

/** From the page to its worker. */
export type Order =
  | { readonly kind: 'adopt'; readonly peer: number; readonly control: RTCDataChannel; readonly bulk: RTCDataChannel }
  | { readonly kind: 'run'; readonly rank: number; readonly program: Program }
  | { readonly kind: 'leave' };

// What a failure of one library means for the rest of a bench.

import { AbortedError, DeviceLostError, TabmeshError } from '../base/errors.ts';

/** Errors that end the whole bench: a stop, and the loss of tabmesh's own GPU. */
export function isFatal(error: unknown): boolean {
  return error instanceof AbortedError || error instanceof DeviceLostError;
}

/** The first line of what went wrong. */
export function reasonOf(error: unknown): string {
  return (error instanceof Error ? error.message || error.name : String(error)).split('\n')[0].slice(0, 300);
}

/** What the promise gives; rejects with `what` and the time when that takes longer than `ms`. */
export function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new TabmeshError(`${what} within ${ms / 1000} s`)), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

// The log of a run: one JSON object per line and step. Lines that could not be written are kept and tried again with
// the next one, so a disk that was full for a while leaves no hole and no torn line. A resumed run takes the lines away
// that it is about to write again.

import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, readSync, statSync, writeSync } from 'node:fs';
import { FileError, FormatError } from '../../base/errors.ts';
import { replaceFiles } from './atomic-file.ts';

/** Lines that wait for space; older ones are given up. */
const MAX_WAITING = 10_000;
const NEWLINE = 10;

export class StepLog {
  readonly path: string;
  #waiting: string[] = [];
  #begun = false;
  #givenUp = 0;

  constructor(path: string) {
    this.path = path;
  }

  /** Lines that are not in the file. */
  get missing(): number {
    return this.#waiting.length + this.#givenUp;
  }

  /** Appends `record` as a line. FileError when it, and what waits, is not in the file. */
  add(record: object): void {
    this.#waiting.push(`${JSON.stringify(record)}\n`);
    if (this.#waiting.length > MAX_WAITING) {
      this.#waiting.shift();
      this.#givenUp++;
    }
    this.flush();
  }

  flush(): void {
    if (!this.#waiting.length) return;
    try {
      this.#append(this.#waiting.join(''));
      this.#waiting = [];
    } catch (error) {
      throw new FileError(this.path, error instanceof Error ? error.message : String(error));
    }
  }

  /** Opened anew each time: who rotates logs moves the file away. */
  #append(text: string): void {
    const file = openSync(this.path, 'a+');
    try {
      const about = fstatSync(file);
      const whole = about.isFile() ? about.size : undefined;
      const torn = !this.#begun && whole !== undefined && whole > 0 && lastByte(file, whole) !== NEWLINE;
      const bytes = new TextEncoder().encode(torn ? `\n${text}` : text);
      try {
        for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
      } catch (error) {
        // Half a line would spoil the file for every reader.
        if (whole !== undefined) ftruncateSync(file, whole);
        throw error;
      }
      this.#begun = true;
    } finally {
      closeSync(file);
    }
  }
}

/**
 * Takes the lines of step `step` and later away from the last run in the log (steps count up within a run), and a torn
 * last line. The log as it was stays as FILE.previous. Returns how many lines went. FormatError if the file is no log
 * of steps.
 */
export function cutLog(path: string, step: number): number {
  const text = readExisting(path);
  if (text === undefined || text === '') return 0;
  const lines = text.split('\n');
  const torn = lines.pop() !== '';
  const steps = lines.map((line, i) => stepOf(line, path, i + 1));
  let begin = steps.length;
  while (begin > 0 && (begin === steps.length || steps[begin - 1] < steps[begin])) begin--;
  const kept = lines.filter((_, i) => i < begin || steps[i] < step);
  if (kept.length === lines.length && !torn) return 0;
  replaceFiles([{ path, bytes: new TextEncoder().encode(kept.map((line) => `${line}\n`).join('')) }], { keep: true });
  return lines.length - kept.length;
}

function stepOf(line: string, path: string, number: number): number {
  try {
    const { step } = JSON.parse(line) as { step?: unknown };
    if (Number.isSafeInteger(step)) return step as number;
  } catch {
    // Told below.
  }
  throw new FormatError(
    '--log',
    `'${path}' has other things than steps in it (line ${number}), so the resumed run cannot go on there; give another file`,
  );
}

function readExisting(path: string): string | undefined {
  try {
    // What comes out of a pipe or a terminal is nobody's log.
    return statSync(path).isFile() ? readFileSync(path, 'utf8') : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new FileError(path, `it cannot be read either (${error instanceof Error ? error.message : String(error)})`);
  }
}

function lastByte(file: number, size: number): number {
  const byte = new Uint8Array(1);
  readSync(file, byte, 0, 1, size - 1);
  return byte[0];
}

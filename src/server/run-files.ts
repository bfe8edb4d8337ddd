// The files of one run: what its tabs read, and what they hand back. Both lie under an address that nobody can guess
// and that works only as long as the run: whoever else asks or posts is refused. Results are written to disk as they
// come, bounded in size and number, and removed with the run.

import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { LimitError, ServeError } from '../base/errors.ts';
import { say } from './front.ts';

export interface RunLimits {
  /** Of one result. Node reads a file of at most 2 GiB at once. */
  readonly maxBytes?: number;
  /** Results that nobody has taken yet, those on their way included. */
  readonly maxWaiting?: number;
}

type Content = string | Uint8Array<ArrayBuffer> | { readonly path: string };
interface Result {
  readonly file: string;
  readonly bytes: number;
  taken: boolean;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
/** Results that were taken are kept for a rank that reports the same one later. */
const KEPT = 4;

export class RunFiles {
  /** Part of the addresses; 128 random bits. */
  readonly token = randomBytes(16).toString('hex');
  readonly #files = new Map<string, Content>();
  readonly #results = new Map<string, Result>();
  readonly #maxBytes: number;
  readonly #maxWaiting: number;
  #folder: string | undefined;
  #uploads = 0;
  #arriving = 0;
  #closed = false;
  readonly #onClose: () => void;

  constructor({ maxBytes = 2 ** 31 - 1, maxWaiting = 64 }: RunLimits = {}, onClose: () => void = () => undefined) {
    this.#onClose = onClose;
    this.#maxBytes = maxBytes;
    this.#maxWaiting = maxWaiting;
  }

  /** Address of the content, relative to the page; a path is read when it is asked for. */
  put(name: string, content: Content): string {
    this.#files.set(name, content);
    return `${this.files}/${name}`;
  }

  /** Prefix of the addresses of what was put, relative to the page. */
  get files(): string {
    return `run/${this.token}/files`;
  }

  /** Prefix of the addresses to which results are posted, relative to the page. */
  get upload(): string {
    return `run/${this.token}/results`;
  }

  /** The bytes of a result that has arrived. Throws ServeError if it has not, or if its file cannot be read. */
  take(name: string): Uint8Array<ArrayBuffer> {
    const result = this.#results.get(name);
    if (!result) throw new ServeError(`the page reported ${name}, but did not upload it`);
    result.taken = true;
    try {
      return new Uint8Array(readFileSync(result.file));
    } catch (error) {
      throw new ServeError(`${name}: the uploaded file cannot be read (${(error as Error).message})`, { cause: error });
    }
  }

  /** @param path below the run's own: 'files/NAME' or 'results/NAME'. */
  async handle(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const [kind, name = '', ...rest] = path.split('/');
    if (rest.length > 0 || !NAME.test(name) || (kind !== 'files' && kind !== 'results'))
      return say(response, 404, 'this run has no such file');
    if (kind === 'files') return this.#give(request, response, name);
    if (request.method !== 'POST') return say(response, 405, 'results are posted', { allow: 'POST' });
    return this.#receive(request, response, name.replace(/\.safetensors$/, ''));
  }

  /** Refuses everything from now on and removes what is on disk. */
  close(): void {
    this.#closed = true;
    this.#onClose();
    this.#files.clear();
    this.#results.clear();
    if (this.#folder === undefined) return;
    rmSync(this.#folder, { recursive: true, force: true });
    folders.delete(this.#folder);
  }

  async #give(request: IncomingMessage, response: ServerResponse, name: string): Promise<void> {
    const content = this.#files.get(name);
    if (content === undefined) return say(response, 404, 'this run has no such file');
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return say(response, 405, 'files of a run are only read', { allow: 'GET, HEAD' });
    response.setHeader('content-type', 'application/octet-stream');
    response.setHeader('cache-control', 'no-store');
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    if (typeof content === 'string' || content instanceof Uint8Array) response.end(content);
    else await pipeline(createReadStream(content.path), response);
  }

  async #receive(request: IncomingMessage, response: ServerResponse, name: string): Promise<void> {
    const tooLong = `${name}: expected at most ${this.#maxBytes} bytes`;
    if (Number(request.headers['content-length'] ?? 0) > this.#maxBytes) return say(response, 413, tooLong);
    if (!this.#makeRoom(name))
      return say(response, 429, `${name}: expected at most ${this.#maxWaiting} results that wait to be taken`);
    const file = join(this.#folderOf(), `${++this.#uploads}-${basename(name)}`);
    let bytes = 0;
    const count = new Transform({
      transform: (part: Buffer, _encoding, next) => {
        bytes += part.length;
        if (bytes > this.#maxBytes) next(new LimitError(tooLong));
        else next(null, part);
      },
    });
    if (request.headers.expect !== undefined) response.writeContinue();
    this.#arriving++;
    try {
      await pipeline(request, count, createWriteStream(file, { mode: 0o600 }), { end: true });
    } catch (error) {
      rmSync(file, { force: true });
      if (error instanceof LimitError) return say(response, 413, tooLong);
      // A disk that is full is worth its own words; a sender that went away needs none.
      if (
        this.#closed ||
        !['ENOSPC', 'EDQUOT', 'EFBIG', 'EIO', 'EROFS'].includes((error as NodeJS.ErrnoException).code ?? '')
      )
        throw error;
      return say(response, 507, `${name}: it cannot be written to ${tmpdir()} (${(error as Error).message})`);
    } finally {
      this.#arriving--;
    }
    if (this.#closed) {
      rmSync(file, { force: true });
      return say(response, 404, 'this run is over');
    }
    const before = this.#results.get(name);
    if (before) rmSync(before.file, { force: true });
    this.#results.set(name, { file, bytes, taken: false });
    say(response, 200, 'ok');
  }

  /** Whether one more may come; the oldest that were taken go first. */
  #makeRoom(name: string): boolean {
    const taken = [...this.#results].filter(([, result]) => result.taken);
    for (const [old, { file }] of taken.slice(0, Math.max(0, taken.length - KEPT))) {
      rmSync(file, { force: true });
      this.#results.delete(old);
    }
    const waiting = [...this.#results].filter(([other, { taken: gone }]) => !gone && other !== name).length;
    return waiting + this.#arriving < this.#maxWaiting;
  }

  #folderOf(): string {
    if (this.#folder === undefined) {
      this.#folder = mkdtempSync(join(tmpdir(), 'tabmesh-run-'));
      removeAtExit(this.#folder);
    }
    return this.#folder;
  }
}

/** Folders that an end of the process would leave behind. */
const folders = new Set<string>();

function removeAtExit(folder: string): void {
  if (folders.size === 0 && !watching) {
    watching = true;
    process.once('exit', () => {
      for (const left of folders) rmSync(left, { recursive: true, force: true });
    });
  }
  folders.add(folder);
}

let watching = false;

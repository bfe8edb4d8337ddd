// A job: what to train, as JSON that fits into a link or a message: the run's settings, and addresses of the files it
// needs, relative to the page. Links and messages between tabs name it `plan`, the word of earlier versions. Files come
// from the page's own site alone, because a job may be another person's. Reading is strict; errors say which part is
// wrong.

import { worldSize } from '../../base/axis.ts';
import { ConfigError } from '../../base/errors.ts';
import { decodeUtf8, isObject, parseJson, quote, toPlain } from '../../base/json.ts';
import { checkSum, parseSharedFile } from '../../cluster/files/shared-file.ts';
import type { SharedFile } from '../../cluster/files/shared-file.ts';
import { neededFiles } from '../../train/tasks/registry.ts';
import type { RunFiles } from '../../train/prepare.ts';
import { formatRunConfig, parseRunConfig } from '../../train/run-config.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { sentence } from '../shared/sentence.ts';

export interface JobFiles {
  readonly text?: string;
  readonly tokens?: string;
  readonly modelConfig?: string;
  readonly weights?: string;
  readonly tokenizer?: string;
  readonly tokenizerConfig?: string;
  /** A checkpoint to go on from. */
  readonly checkpoint?: string;
}

export type SharedFiles = Readonly<Partial<Record<keyof JobFiles, SharedFile>>>;

export interface Job {
  /** As formatRunConfig writes it. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly files: JobFiles;
  /** Files that lie on some tabs of the room alone; the others get them over the mesh. */
  readonly shared?: SharedFiles;
  /**
   * The run goes on from this step of the run of this number in the room, whose checkpoint is among the shared files.
   */
  readonly from?: { readonly run: number; readonly step: number };
  /** When a tab is lost, the room goes on from the last checkpoint by itself. */
  readonly onLoss?: 'resume';
  readonly wantGradients?: boolean;
  readonly wantModel?: boolean;
  readonly sampleTokens?: number;
}

/** What the files of a job hold; the same things may be given directly, without an address. */
export interface JobContents extends RunFiles {
  readonly checkpoint?: Uint8Array<ArrayBuffer>;
}

export const DEFAULT_TEXT = 'data/moby-dick.txt';
/** Files that are handed over as text. */
export const TEXT_FILES = ['modelConfig', 'tokenizer', 'tokenizerConfig'] as const;
/** The text too: whether its bytes are a text is found out by the one that knows the tokenizer. */
const BYTE_FILES = ['text', 'tokens', 'weights', 'checkpoint'] as const;

export function makeJob(config: RunConfig, files: JobFiles = {}): Job {
  return { config: formatRunConfig(config), files };
}

export function configOf(job: Job): RunConfig {
  return parseRunConfig(Object.entries(job.config));
}

/** What a rank is asked for beside its training. */
export function wishesOf({ wantGradients = false, wantModel = false, sampleTokens }: Job): {
  wantGradients: boolean;
  wantModel: boolean;
  sampleTokens?: number;
} {
  return { wantGradients, wantModel, ...(sampleTokens === undefined ? {} : { sampleTokens }) };
}

/** From the text of a link, or from the value that a session delivers. */
export function parseJob(source: unknown): Job {
  const value = typeof source === 'string' ? parseJson(source, { format: 'job', maxDepth: 8 }) : source;
  const plain = value instanceof Map && isObject(value) ? toPlain(value) : value;
  const {
    config,
    files = {},
    shared,
    from,
    onLoss,
    wantGradients,
    wantModel,
    sampleTokens,
    ...rest
  } = objectOf(plain, 'job');
  for (const name of Object.keys(rest)) throw new ConfigError('job', `unknown field ${quote(name)}`);
  const addresses: Record<string, string> = {};
  for (const [name, address] of Object.entries(objectOf(files, 'job.files'))) {
    checkName(name, 'job.files');
    if (address === undefined || address === null) continue;
    if (typeof address !== 'string') throw new ConfigError(`job.files.${name}`, 'expected an address');
    addresses[name] = address;
  }
  if (
    sampleTokens !== undefined &&
    !(Number.isInteger(sampleTokens) && Number(sampleTokens) >= 1 && Number(sampleTokens) <= 10_000)
  )
    throw new ConfigError('job.sampleTokens', 'expected a whole number from 1 to 10000');
  const job: Job = {
    config: objectOf(config, 'job.config'),
    files: addresses,
    ...parseShared(shared, addresses),
    ...parseFrom(from),
    ...(onLoss === undefined ? {} : { onLoss: parseOnLoss(onLoss) }),
    ...(wantGradients === true ? { wantGradients } : {}),
    ...(wantModel === true ? { wantModel } : {}),
    ...(sampleTokens === undefined ? {} : { sampleTokens: Number(sampleTokens) }),
  };
  configOf(job);
  return job;
}

function checkName(name: string, where: string): void {
  if (![...TEXT_FILES, ...BYTE_FILES].some((known) => known === name))
    throw new ConfigError(where, `unknown file ${quote(name)}`);
}

function parseShared(value: unknown, addresses: JobFiles): { shared?: SharedFiles } {
  if (value === undefined || value === null) return {};
  const shared = Object.entries(objectOf(value, 'job.shared')).map(([name, file]) => {
    checkName(name, 'job.shared');
    if (addresses[name as keyof JobFiles] !== undefined)
      throw new ConfigError(`job.shared.${name}`, 'has an address too; expected one of the two');
    return [name, parseSharedFile(file, `job.shared.${name}`)] as const;
  });
  checkSum(shared.map(([, file]) => file));
  return { shared: Object.fromEntries(shared) };
}

function parseFrom(value: unknown): { from?: { run: number; step: number } } {
  if (value === undefined || value === null) return {};
  const { run, step } = objectOf(value, 'job.from');
  const isCount = (n: unknown): n is number => typeof n === 'number' && Number.isInteger(n) && n >= 0 && n < 2 ** 32;
  if (!isCount(run) || !isCount(step)) throw new ConfigError('job.from', 'expected the numbers of a run and of a step');
  return { from: { run, step } };
}

function parseOnLoss(value: unknown): 'resume' {
  if (value !== 'resume') throw new ConfigError('job.onLoss', "expected 'resume', or nothing");
  return value;
}

/** ConfigError unless a job of this config has so many ranks. */
export function checkRanks({ layout }: RunConfig, ranks: number): void {
  const size = worldSize(layout);
  if (size !== ranks)
    throw new ConfigError('job', `its layout has ${size} ranks, but the world has ${ranks}; make them equal`);
}

/** Why this page cannot train a job with so many ranks; undefined when nothing speaks against it. Loads nothing. */
export function checkJob(
  { worldSize: ranks, plan: job }: { readonly worldSize: number; readonly plan: unknown },
  page: string,
): string | undefined {
  try {
    const parsed = parseJob(job);
    const config = configOf(parsed);
    checkRanks(config, ranks);
    const { files, shared = {} } = parsed;
    if (
      neededFiles(config).text &&
      files.text === undefined &&
      shared.text === undefined &&
      config.data !== 'moby-dick'
    ) {
      throw new ConfigError(
        'data',
        `the job has no file for ${quote(config.data)}; drop that text file on this page first, or train on Moby Dick or a task`,
      );
    }
    // A checkpoint brings the config of its model.
    if (
      neededFiles(config).model &&
      files.modelConfig === undefined &&
      shared.modelConfig === undefined &&
      shared.checkpoint === undefined
    )
      throw new ConfigError('model', `${quote(config.model)} is no preset, and the job has no file for it`);
    for (const address of Object.values(parsed.files)) urlOf(address as string, page);
    return undefined;
  } catch (error) {
    return sentence(error);
  }
}

/** Hears how far a file is: bytes of `total`, which is undefined where the server does not say it. */
export type OnLoading = (name: string, loaded: number, total: number | undefined) => void;

/**
 * Fetches what the job needs and `given` lacks, but for the shared files. Rejects with ConfigError.
 */
export async function fetchContents(
  job: Job,
  page: string,
  given: JobContents,
  onProgress: OnLoading,
  signal?: AbortSignal,
): Promise<JobContents> {
  const config = configOf(job);
  const needed = neededFiles(config);
  const files: Record<string, string | undefined> = { ...job.files };
  if (needed.text && given.text === undefined && files['text'] === undefined && job.shared?.text === undefined) {
    if (config.data !== 'moby-dick')
      throw new ConfigError(
        'data',
        `the job has no file for ${quote(config.data)}; drop that text file on this page first, or train on moby-dick`,
      );
    files['text'] = DEFAULT_TEXT;
  }
  const contents: Record<string, string | Uint8Array<ArrayBuffer> | undefined> = { ...given };
  for (const name of [...TEXT_FILES, ...BYTE_FILES]) {
    const address = files[name];
    if (address === undefined || contents[name] !== undefined) continue;
    const bytes = await fetchBytes(address, page, onProgress, signal);
    contents[name] = TEXT_FILES.some((text) => text === name) ? decodeUtf8(bytes, name) : bytes;
  }
  return contents as JobContents;
}

function urlOf(address: string, page: string): URL {
  if (!URL.canParse(address, page)) throw new ConfigError('file', `${quote(address)} is no address`);
  const url = new URL(address, page);
  if (url.origin !== new URL(page).origin)
    throw new ConfigError('file', `${url.href} is not on this page's site; put the file beside the page`);
  return url;
}

async function fetchBytes(
  address: string,
  page: string,
  onProgress: OnLoading,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const url = urlOf(address, page);
  const name = url.pathname.split('/').pop() || url.pathname;
  onProgress(name, 0, undefined);
  let response: Response;
  try {
    response = await fetch(url, { ...(signal ? { signal } : {}) });
  } catch (error) {
    throw new ConfigError(
      'file',
      `${url.pathname} could not be loaded (${String(error)}); check that the page's server is running`,
    );
  }
  // A development server answers an unknown address with the page itself.
  if (!response.ok || !response.body || response.headers.get('content-type')?.startsWith('text/html'))
    throw new ConfigError(
      'file',
      `${url.pathname} is not on this server (status ${response.status}); check the address`,
    );
  // What travels compressed has another size than what comes out.
  const length = Number(response.headers.get('content-length') ?? NaN);
  const total = response.headers.has('content-encoding') || !(length > 0) ? undefined : length;
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let loaded = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    loaded += value.length;
    onProgress(name, loaded, total === undefined ? undefined : Math.max(total, loaded));
  }
  onProgress(name, loaded, loaded);
  const bytes = new Uint8Array(loaded);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function objectOf(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ConfigError(where, 'expected an object');
  return value as Record<string, unknown>;
}

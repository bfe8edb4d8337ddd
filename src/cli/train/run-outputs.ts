// What a run leaves behind: a line per step on stderr and in the log, and the files that were asked for.

import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { worldSize } from '../../base/axis.ts';
import { summary } from '../../device/tune/certificate.ts';
import { formatModelConfig } from '../../model/config.ts';
import { prepareRun } from '../../train/prepare.ts';
import type { RunFiles } from '../../train/prepare.ts';
import type { RunConfig } from '../../train/run-config.ts';
import type { RunEvent } from '../../train/run.ts';
import { formatTokenizer } from '../../train/text/tokenizer-file.ts';
import type { StepMetrics } from '../../train/trainer.ts';
import type { CommandIo } from '../command.ts';
import { ProgressLine } from '../progress-line.ts';
import { TraceFile } from '../trace-file.ts';
import { TOKENIZER_FILE } from './run-files.ts';

/** Paths by what is written there. */
export interface Outputs { readonly log?: string; readonly grads?: string; readonly save?: string; readonly checkpoint?: string; readonly trace?: string }

/** Turns the events of all ranks into files and a progress line. Step lines are rank 0's, with the bytes of all ranks. */
export class RunOutputs {
  readonly #config: RunConfig;
  readonly #files: RunFiles;
  readonly #outputs: Outputs;
  readonly #progress: ProgressLine;
  readonly #trace: TraceFile | undefined;
  readonly #io: CommandIo;
  readonly #ranks: number;
  readonly #bytes = new Map<number, { ranks: number; sum: Record<string, number>; metrics?: StepMetrics }>();

  constructor(config: RunConfig, files: RunFiles, outputs: Outputs, io: CommandIo) {
    this.#config = config;
    this.#files = files;
    this.#outputs = outputs;
    this.#io = io;
    this.#ranks = worldSize(config.layout);
    this.#progress = new ProgressLine(config.steps, io);
    this.#trace = outputs.trace === undefined ? undefined : new TraceFile();
  }

  status(text: string): void { this.#progress.note(text); }

  take(rank: number, event: RunEvent): void {
    if (event.kind === 'status' && rank === 0) this.status(event.text);
    else if (event.kind === 'step') this.#step(rank, event.metrics);
    else if (rank !== 0) return;
    else if (event.kind === 'certificate') this.status(summary(event.certificate));
    else if (event.kind === 'ready') this.status(`${event.parameters} parameters, vocabulary ${event.vocab}, ${event.launches} launches per microbatch, ${(event.memoryBytes / 2 ** 20).toFixed(1)} MiB on rank 0`);
    else if (event.kind === 'evaluation') this.#io.err(`step ${event.step}: held-out loss ${event.loss.toFixed(4)}`);
    else if (event.kind === 'sample') this.#io.err(`step ${event.step}: ${JSON.stringify(event.text)}`);
    else if (event.kind === 'gradients') this.#write(this.#outputs.grads, event.bytes);
    else if (event.kind === 'model') this.#save(event.bytes);
    else if (event.kind === 'checkpoint') this.#write(this.#outputs.checkpoint, event.bytes);
    else if (event.kind === 'done') this.#io.out(`${event.stopped ? 'stopped' : 'trained'} ${event.steps} steps`);
  }

  close(): void {
    this.#progress.end();
    if (this.#trace && this.#outputs.trace !== undefined) this.#write(this.#outputs.trace, new TextEncoder().encode(this.#trace.toString()));
  }

  #step(rank: number, metrics: StepMetrics): void {
    this.#trace?.add(rank, metrics);
    const entry = this.#bytes.get(metrics.step) ?? { ranks: 0, sum: {} };
    this.#bytes.set(metrics.step, entry);
    entry.ranks++;
    for (const [kind, bytes] of Object.entries(metrics.bytesSent)) entry.sum[kind] = (entry.sum[kind] ?? 0) + bytes;
    if (rank === 0) entry.metrics = metrics;
    if (entry.ranks < this.#ranks || !entry.metrics) return;
    this.#bytes.delete(metrics.step);
    const { step, loss, gradNorm, lr, tokens, ms } = entry.metrics;
    this.#progress.step({ step, loss, tokens, ms, bytes: Object.values(entry.sum).reduce((a, b) => a + b, 0) });
    if (this.#outputs.log !== undefined) appendFileSync(this.#outputs.log, `${JSON.stringify({ step, loss, gradNorm, lr, tokens, ms, bytesSent: entry.sum })}\n`);
  }

  /** One file, or a folder that `--model` and Hugging Face's from_pretrained read. */
  #save(bytes: Uint8Array): void {
    const { save } = this.#outputs;
    if (save === undefined || save.endsWith('.safetensors')) { this.#write(save, bytes); return; }
    const { model, tokenizer } = prepareRun(this.#config, this.#files);
    const text = (content: string): Uint8Array => new TextEncoder().encode(content);
    this.#write(join(save, 'model.safetensors'), bytes);
    this.#write(join(save, 'config.json'), text(formatModelConfig(model)));
    if (tokenizer) this.#write(join(save, TOKENIZER_FILE), text(formatTokenizer(tokenizer)));
  }

  #write(path: string | undefined, bytes: Uint8Array): void {
    if (path === undefined) return;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
    this.#io.err(`wrote ${path} (${bytes.byteLength} bytes)`);
  }
}

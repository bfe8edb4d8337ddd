// What a run leaves behind: a line per step on stderr and in the log, and the files that were asked for. A write that
// fails ends nothing: it is told, with what is lost, the training goes on, and the run counts as failed at its end.

import { existsSync } from 'node:fs';
import { visibleJson } from '../../base/plain-text.ts';
import { worldSize } from '../../base/axis.ts';
import { formatBytes } from '../../base/format-bytes.ts';
import { summary } from '../../device/tune/certificate.ts';
import { InternalError } from '../../base/errors.ts';
import { isLanguage } from '../../train/tasks/language/prepare.ts';
import type { PreparedRun } from '../../train/prepare.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { describeEnd, describeEvaluation } from '../../train/describe-end.ts';
import type { RunEvent } from '../../train/run.ts';
import type { StepTraffic } from '../../train/step/traffic.ts';
import type { StepMetrics } from '../../train/trainer.ts';
import type { CommandIo } from '../command.ts';
import { ProgressLine } from '../progress-line.ts';
import { TraceFile } from '../trace-file.ts';
import { replaceFiles } from './atomic-file.ts';
import type { NewFile } from './atomic-file.ts';
import { modelFolder } from './model-folder.ts';
import type { Outputs } from './output-paths.ts';
import { savesFolder } from './output-paths.ts';
import { StepLog } from './step-log.ts';

/**
 * Turns the events of all ranks into files and a progress line. Step lines are rank 0's, with the bytes of all ranks.
 */
export class RunOutputs {
  readonly #prepared: PreparedRun;
  readonly #outputs: Outputs;
  readonly #progress: ProgressLine;
  readonly #trace: TraceFile | undefined;
  readonly #log: StepLog | undefined;
  readonly #io: CommandIo;
  readonly #ranks: number;
  readonly #bytes = new Map<number, { ranks: number; sum: Record<string, number>; metrics?: StepMetrics }>();
  readonly #lost: string[] = [];
  #logFails = false;

  constructor(config: RunConfig, prepared: PreparedRun, outputs: Outputs, io: CommandIo) {
    this.#prepared = prepared;
    this.#outputs = outputs;
    this.#io = io;
    this.#ranks = worldSize(config.layout);
    this.#progress = new ProgressLine(config.steps, io, isLanguage(prepared) ? 'tokens' : 'rows');
    this.#trace = outputs.trace === undefined ? undefined : new TraceFile();
    this.#log = outputs.log === undefined ? undefined : new StepLog(outputs.log);
  }

  status(text: string): void {
    this.#progress.note(text);
  }

  /** The run was asked to end; `reason` says by what. */
  stopping(reason: string): void {
    const kept = [
      ['checkpoint', this.#outputs.checkpoint],
      ['model', this.#outputs.save],
    ]
      .filter(([, path]) => path !== undefined)
      .map(([what, path]) => `the ${what} goes to ${path}`);
    this.status(
      `stopping after this step (${reason}); ${kept.length ? kept.join(', ') : 'nothing is kept without --checkpoint or --save'}`,
    );
  }

  take(rank: number, event: RunEvent): void {
    if (event.kind === 'status' && rank === 0) this.#progress.status(event.text);
    else if (event.kind === 'step') this.#step(rank, event.metrics);
    else if (rank !== 0) return;
    else if (event.kind === 'note')
      this.status(event.step === 0 ? `note: ${event.text}` : `step ${event.step}: ${event.text}`);
    else if (event.kind === 'certificate') this.status(summary(event.certificate));
    else if (event.kind === 'ready')
      this.status(
        `${event.parameters} parameters, ${event.vocab === undefined ? '' : `vocabulary ${event.vocab}, `}${event.launches} launches per microbatch, ${(event.memoryBytes / 2 ** 20).toFixed(1)} MiB on rank 0${sends(event.traffic)}`,
      );
    else if (event.kind === 'evaluation') this.status(`step ${event.step}: ${describeEvaluation(event)}`);
    else if (event.kind === 'sample') this.status(`step ${event.step}: ${visibleJson(event.text)}`);
    else if (event.kind === 'gradients')
      this.#write('the gradients of the first step', this.#outputs.grads, event.bytes);
    else if (event.kind === 'model') this.#save(event.step, event.bytes);
    else if (event.kind === 'checkpoint') this.#checkpoint(event.step, event.bytes);
    else if (event.kind === 'done') this.#io.out(describeEnd(event));
  }

  /**
   * Writes what comes at the end of a run, also of one that failed. False, and said, if anything that was asked for is
   * not written.
   */
  finish(): boolean {
    this.#progress.end();
    if (this.#trace) this.#write('the trace', this.#outputs.trace, new TextEncoder().encode(this.#trace.toString()));
    if (this.#log?.missing) this.#logLine();
    if (this.#log?.missing) this.#lost.push(`${this.#log.missing} lines of the log`);
    if (this.#lost.length) this.#io.err(`error: not everything could be written: ${this.#lost.join(', ')}`);
    return this.#lost.length === 0;
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
    this.#logLine({ step, loss, gradNorm, lr, tokens, ms, bytesSent: entry.sum });
  }

  /** A log on a full disk is told once, not at every step. */
  #logLine(record?: object): void {
    if (!this.#log) return;
    try {
      if (record) this.#log.add(record);
      else this.#log.flush();
      if (this.#logFails) this.status('the log goes on, and no line is missing');
      this.#logFails = false;
    } catch (error) {
      if (!this.#logFails)
        this.status(
          `error: no line can be added to the log now: ${sentence(error)}; the training goes on, and the lines are tried again`,
        );
      this.#logFails = true;
    }
  }

  #checkpoint(step: number, bytes: Uint8Array): void {
    this.#write(`the checkpoint of step ${step}`, this.#outputs.checkpoint, bytes, true);
  }

  /** One file, or a folder that `--model` and Hugging Face's from_pretrained read. */
  #save(step: number, bytes: Uint8Array): void {
    const { save } = this.#outputs;
    if (save === undefined) return;
    const what = `the model of step ${step}`;
    if (!savesFolder(save)) {
      this.#write(what, save, bytes, true);
      return;
    }
    if (!isLanguage(this.#prepared)) throw new InternalError('a model folder of what is no language model');
    this.#replace(what, modelFolder(save, this.#prepared, bytes), true);
  }

  #write(what: string, path: string | undefined, bytes: Uint8Array, keep = false): void {
    if (path !== undefined) this.#replace(what, [{ path, bytes }], keep);
  }

  #replace(what: string, files: readonly NewFile[], keep: boolean): void {
    try {
      replaceFiles(files, { keep });
      for (const { path, bytes } of files) this.status(`wrote ${path} (${bytes.byteLength} bytes)`);
    } catch (error) {
      this.#lost.push(what);
      this.status(
        `error: ${what} is lost: ${sentence(error)}${existsSync(files[0].path) ? '; what was there before stays' : ''}`,
      );
    }
  }
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What rank 0 will send in each step; nothing where it is alone. What a router sends comes on top. */
function sends(traffic: StepTraffic): string {
  const bytes = Object.values(traffic).reduce((sum, part) => sum + part, 0);
  return bytes > 0 ? `, which sends ${formatBytes(bytes)} a step` : '';
}

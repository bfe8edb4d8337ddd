// `npm run demo`: a GPT learns Moby Dick on four real tabs (dp=2 x pp=2), joined over WebRTC (and not the ports of one
// browser) through the embedded broker. Visible where there is a display, headless otherwise. In a terminal it goes on
// serving until Ctrl-C; without one it ends with exit code 0 after the last step.

import { plainLines, plainText } from '../../base/plain-text.ts';
import { AXES, worldSize } from '../../base/axis.ts';
import type { RankEvent } from '../../../workers/protocol.ts';
import { ServeError } from '../../base/errors.ts';
import { PRESET_NAMES, presetConfig, presetContext } from '../../model/presets.ts';
import { describeEnd, describeEvaluation } from '../../train/describe-end.ts';
import { checkLayout } from '../../train/layout.ts';
import { parseRunConfig } from '../../train/run-config.ts';
import { openBoth, openTabs, ReportSink, stopTabs } from '../chromium.ts';
import type { TabReport } from '../chromium.ts';
import type { Command, CommandIo, StopReason } from '../command.ts';
import { describeOptions, parseOptions, portOf } from '../options.ts';
import { ProgressLine } from '../progress-line.ts';

const OPTIONS = {
  steps: { type: 'count', default: 120, about: 'steps to train' },
  layout: {
    type: 'string',
    value: 'mesh',
    default: 'dp=2,pp=2',
    about: `mesh, one tab per rank; axes ${AXES.join(', ')}`,
  },
  model: { type: 'string', default: 'gpt2-nano', choices: PRESET_NAMES, about: 'preset' },
  port: { type: 'count', default: 8080, about: 'port of the page' },
  backend: {
    type: 'string',
    choices: ['auto', 'webgpu', 'wasm'],
    default: 'auto',
    about: 'what the tabs compute on; auto: a GPU, otherwise WebAssembly',
  },
  headless: { type: 'flag', about: 'open no window, even where there is a display' },
} as const;

/** Characters of the sample; a model may write anything. */
const MAX_SAMPLE = 20_000;
const MAX_ADAPTER = 120;

function hasDisplay(): boolean {
  return (
    process.platform === 'darwin' ||
    process.platform === 'win32' ||
    Boolean(process.env['DISPLAY'] || process.env['WAYLAND_DISPLAY'])
  );
}

/** On the wanted port, or on a free one when it is taken. */
async function open(port: number, headless: boolean, io: CommandIo): ReturnType<typeof openBoth> {
  try {
    return await openBoth(io.err, { port }, headless);
  } catch (error) {
    if (!(error instanceof ServeError && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'EADDRINUSE'))
      throw error;
    io.err(`port ${port} is taken; using a free one`);
    return openBoth(io.err, {}, headless);
  }
}

export const command: Command = {
  name: 'demo',
  trains: true,
  summary: 'trains a GPT on Moby Dick on four real browser tabs',
  help: [
    'tabmesh demo: trains a GPT on Moby Dick on four real browser tabs',
    '',
    'usage: tabmesh demo [options]',
    '',
    describeOptions(OPTIONS),
  ].join('\n'),
  async run(args, io) {
    const { options } = parseOptions(args, OPTIONS);
    const config = parseRunConfig([
      ['model', options.model],
      ['layout', options.layout],
      ['steps', String(options.steps)],
      ['batch', '16'],
      ['microbatches', '4'],
      ['lr', '0.004'],
      ['warmup', String(Math.min(10, options.steps))],
      ['decay', 'cosine'],
      ['minLr', '0.0004'],
      ['evalEvery', String(options.steps)],
      ['sampleEvery', String(options.steps)],
    ]);
    // Before anything is opened; the vocabulary does not matter.
    checkLayout(presetConfig(config.model, 2), config.layout, { ...config, context: presetContext(config.model) });
    const stopped = new Promise<void>((resolve) => {
      io.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    const size = worldSize(config.layout);
    const { server, browser } = await open(portOf(options.port), options.headless || !hasDisplay(), io);
    try {
      const run = server.openRun();
      const show = new DemoView(config.steps, size, io);
      const sink = new ReportSink(size, run, show.take, (text) => show.note(text));
      io.out(`page ${server.url}`);
      show.note(`opening ${size} tabs`);
      const { pages, roomUrl } = await openTabs({
        server,
        run,
        browser,
        config,
        files: {},
        mode: 'tabs',
        sampleTokens: 240,
        parts: () => ({ lane: 'webrtc', backend: options.backend }),
        onReport: (tab, report) => {
          show.devices(report, options.backend === 'auto');
          sink.take(tab, report);
        },
      });
      io.out(`watch or join: ${roomUrl}`);
      // After its step; before there is one, at once.
      const ended = stopped.then(async () => {
        if (!show.training) return;
        show.note(`stopping after this step (${(io.signal.reason as StopReason).text})`);
        await Promise.all([stopTabs(pages), sink.finished]);
      });
      await Promise.race([sink.finished, ended]);
      show.end();
      if (io.interactive && !io.signal.aborted) {
        io.out(`the run is over; the page goes on at ${server.url} (Ctrl-C stops)`);
        await stopped;
      }
    } finally {
      await browser.close();
      await server.close();
    }
    return 0;
  },
};

class DemoView {
  readonly #io: CommandIo;
  readonly #progress: ProgressLine;
  readonly #size: number;
  readonly #bytes = new Map<number, { ranks: number; sum: number }>();
  #first: number | undefined;
  #last = NaN;
  #sample = '';
  #toldDevices = false;
  #end = '';

  constructor(steps: number, size: number, io: CommandIo) {
    this.#io = io;
    this.#size = size;
    this.#progress = new ProgressLine(steps, io);
  }

  /** A step was made. */
  get training(): boolean {
    return this.#first !== undefined;
  }

  note(text: string): void {
    this.#progress.note(text);
  }

  readonly take = (rank: number, event: RankEvent): void => {
    if (event.kind === 'step') this.#step(event);
    else if (rank !== 0) return;
    else if (event.kind === 'ready')
      this.note(
        `${event.parameters} parameters, vocabulary ${event.vocab!} (ln = ${Math.log(event.vocab!).toFixed(3)})`,
      );
    else if (event.kind === 'evaluation') this.note(describeEvaluation(event));
    else if (event.kind === 'sample') this.#sample = event.text;
    else if (event.kind === 'status') this.#progress.status(event.text);
    else if (event.kind === 'note') this.note(event.text);
    else if (event.kind === 'done') this.#end = describeEnd(event);
  };

  /** What was learnt, and a text. */
  end(): void {
    this.#progress.end();
    if (this.#first === undefined) return;
    if (this.#end) this.#io.out(this.#end);
    this.#io.out(`loss ${this.#first.toFixed(4)} -> ${this.#last.toFixed(4)}`);
    if (this.#sample) this.#io.out(`\n--- sample ---\n${plainLines(this.#sample, MAX_SAMPLE)}\n--------------`);
  }

  /** Says once what the tabs compute on, when all of them are in the room. */
  devices({ type, event }: TabReport, chosen: boolean): void {
    if (this.#toldDevices || type !== 'session' || event?.type !== 'roster') return;
    const adapters = (event['members'] as readonly { readonly adapter?: string }[]).map(({ adapter }) => adapter);
    if (adapters.filter(Boolean).length < this.#size) return;
    this.#toldDevices = true;
    const counts = new Map<string, number>();
    for (const adapter of adapters) {
      // Threads and speed are each tab's own.
      const kind = adapter!.replace(/, \d+ threads?\b.*/, '');
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    const list = [...counts].map(([adapter, tabs]) => `${tabs} on ${plainText(adapter, MAX_ADAPTER)}`).join(', ');
    this.note(`the tabs compute: ${list}${chosen ? ' (--backend webgpu or wasm forces one)' : ''}`);
  }

  /** One line per step, once all ranks have told their bytes. */
  #step({ metrics }: Extract<RankEvent, { kind: 'step' }>): void {
    const entry = this.#bytes.get(metrics.step) ?? { ranks: 0, sum: 0 };
    this.#bytes.set(metrics.step, entry);
    entry.ranks++;
    entry.sum += Object.values(metrics.bytesSent).reduce((a, b) => a + b, 0);
    if (entry.ranks < this.#size) return;
    this.#bytes.delete(metrics.step);
    this.#first ??= metrics.loss;
    this.#last = metrics.loss;
    this.#progress.step({ ...metrics, bytes: entry.sum });
  }
}

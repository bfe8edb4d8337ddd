// The parts of the page that need no browser: links, jobs, curves, the view of a run, reports to a driving program.

import { afterEach, describe, expect, it, vi } from 'vitest';
import { homeLink, readFragment as readFragmentOf, roomLink } from '../../src/app/training/fragment.ts';
import { formatBytes } from '../../src/base/format-bytes.ts';
import { configOf, fetchContents, makeJob, parseJob } from '../../src/app/training/job.ts';
import { OLDER, sentence } from '../../src/app/shared/sentence.ts';
import { PRESETS, presetConfig } from '../../src/app/training/presets.ts';
import { createReporter } from '../../src/app/training/reporter.ts';
import { linkFigures, linkWay, placeName, RunView, Series } from '../../src/app/training/run-view.ts';
import { createFlightRecorder } from '../../src/collectives/record/flight-recorder.ts';
import { formatLayout, worldSize } from '../../src/base/axis.ts';
import type { SessionEvent } from '../../src/cluster/session.ts';
import { RoomError } from '../../src/base/errors.ts';
import { presetConfig as modelOf, presetContext } from '../../src/model/presets.ts';
import { checkLayout, makeLayout } from '../../src/train/layout.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import type { StepMetrics } from '../../src/train/trainer.ts';
import type { LinkReport } from '../../workers/protocol.ts';

afterEach(() => {
  vi.unstubAllGlobals();
});

const readFragment = (hash: string) => readFragmentOf(hash, 'https://x.example/a/');

it('a page that is older than its server says so, in the words of no browser', () => {
  for (const words of [
    'Failed to fetch dynamically imported module: http://x/assets/a.js',
    'error loading dynamically imported module: http://x/a.js',
    'Importing a module script failed.',
    'Unable to preload CSS for /assets/x.css',
  ]) {
    expect(sentence(new TypeError(words))).toBe(OLDER);
  }
  expect(OLDER).toMatch(/older than its server.*reload/);
});

describe('the link of a page', () => {
  it('sends results to the own server of the page only', () => {
    for (const upload of ['run/ab/results', '/b', 'https://x.example/run/ab/results'])
      expect(readFragment(`#upload=${encodeURIComponent(upload)}`).upload).toBe(upload);
    for (const upload of [
      'https://evil.example/loot',
      '//evil.example/loot',
      'http://x.example/a',
      'https://x.example:444/',
      'data:text/plain,x',
      'https://',
    ]) {
      expect(() => readFragment(`#upload=${encodeURIComponent(upload)}`), upload).toThrow(
        `link: upload is "${upload}"; expected an address of this page's own server`,
      );
    }
  });
  it('carries a room to another tab, and asks there unless the person opened it', () => {
    const settings = readFragment(
      '#room=r1&key=abc&broker=none&backend=cpu&lane=same-browser&ice=stun:a.example,stun:b.example:3478',
    );
    const link = roomLink('https://x.example/page#old', settings.room!, settings);
    expect(link).toMatch(/^https:\/\/x\.example\/page#room=r1&key=abc/);
    expect(readFragment(link.slice(link.indexOf('#')))).toEqual({ ...settings, backend: 'auto' });
    expect(readFragment(roomLink('https://x.example/', settings.room!, settings, 'own').split('#')[1]!).auto).toBe(
      true,
    );
    expect(link).not.toContain('auto');
    for (const who of ['own', 'here'] as const)
      expect(roomLink('https://x.example/', settings.room!, settings, who)).toContain('&backend=cpu');
    expect(homeLink('https://x.example/page?a=1#old', settings)).toBe('https://x.example/page?a=1#backend=cpu');
    expect(homeLink('https://x.example/page#room=r1', readFragment(''))).toBe('https://x.example/page');
  });
  it('gives no TURN credentials away: only tabs of this person get them', () => {
    const settings = readFragment(
      '#room=r1&key=abc&ice=stun:a.example,turn:t.example:3478?transport=udp&turnuser=bob&turnpass=sesame&relay=only',
    );
    expect(settings.ice).toEqual({
      iceServers: [
        { urls: 'stun:a.example' },
        { urls: 'turn:t.example:3478?transport=udp', username: 'bob', credential: 'sesame' },
      ],
      relayOnly: true,
    });
    const shared = roomLink('https://x.example/', settings.room!, settings);
    expect(shared).not.toMatch(/sesame|bob|turn|relay/);
    expect(readFragment(shared.split('#')[1]!).ice).toEqual({
      iceServers: [{ urls: 'stun:a.example' }],
      relayOnly: false,
    });
    for (const who of ['own', 'here'] as const)
      expect(readFragment(roomLink('https://x.example/', settings.room!, settings, who).split('#')[1]!)).toEqual({
        ...settings,
        auto: who === 'own',
      });
  });
  it('may name settings of a run in place of a job', () => {
    const { job, backend } = readFragment('#backend=cpu&model=mlp-nano&data=planted&lr=0.01&decay=cosine&warmup=2');
    expect(backend).toBe('cpu');
    expect(configOf(job!)).toMatchObject({ model: 'mlp-nano', data: 'planted', lr: { peak: 0.01, warmupSteps: 2 } });
    expect(() => readFragment('#model=mlp-nano&model=gpt2-nano')).toThrow('model: the setting stands twice');
    expect(() => readFragment('#steps=many')).toThrow('steps: expected a whole number');
    expect(() => readFragment('#steps=3&plan={"config":{}}')).toThrow('link: there is a plan, and "steps" beside it');
  });
  it('has a layout for its devices, unless it names one', () => {
    const layoutOf = (hash: string): [string, number] => {
      const { layout, microbatches } = configOf(readFragment(hash).job!);
      return [formatLayout(layout), microbatches];
    };
    expect(layoutOf('#devices=4&steps=9')).toEqual(['dp=2,pp=2', 2]);
    expect(layoutOf('#devices=2&microbatches=4')).toEqual(['pp=2', 4]);
    expect(layoutOf('#devices=3&model=mlp-nano&data=planted&batch=12')).toEqual(['dp=3', 1]);
    expect(layoutOf('#devices=2&layout=tp%3D2')).toEqual(['tp=2', 1]);
    expect(layoutOf('#devices=2&room=r1&key=k&steps=9')).toEqual(['dp=1', 1]);
    for (const said of ['layout=tp%3D2', 'plan={"config":{"layout":"tp=2"}}'])
      expect(() => readFragment(`#devices=4&${said}`)).toThrow(
        'link: devices is 4, but the layout tp=2 has 2 ranks; leave one of them out',
      );
  });
  it('says what is wrong with it', () => {
    expect(() => readFragment('#rom=1')).toThrow('link: unknown part "rom"; the parts are room');
    expect(() => readFragment('#room=a&key=b&owner=me')).toThrow('link: owner is "me"; expected 32 digits');
    expect(() => readFragment('#room=a')).toThrow('copy the whole link of the room');
    expect(() => readFragment('#key=a')).toThrow('link: there is a key, but no room; copy the whole link of the room');
    expect(() => readFragment('#auto=true')).toThrow('link: auto is "true"; expected 1 or 0');
    expect(() => readFragment('#lane=usb')).toThrow('link: lane is "usb"; expected webrtc or same-browser');
    expect(() => readFragment('#devices=0')).toThrow('link: devices is "0"; expected a whole number from 1 to 64');
    expect(() => readFragment('#backend=gpu')).toThrow('expected auto, webgpu, wasm, cpu');
    expect(() => readFragment('#plan=%7B')).toThrow('job');
  });
});

describe('a job', () => {
  const config = parseRunConfig([
    ['data', 'copy'],
    ['layout', 'dp=2'],
    ['context', 16],
  ]);
  it('survives text and a message', () => {
    const job = { ...makeJob(config, { weights: 'm/model.safetensors' }), wantModel: true, sampleTokens: 5 };
    expect(parseJob(JSON.stringify(job))).toEqual(job);
    expect(parseJob(structuredClone(job))).toEqual(job);
    expect(configOf(parseJob(JSON.stringify(job)))).toEqual(config);
  });
  it.each([
    ['{"config":{},"extra":1}', 'job: unknown field "extra"'],
    ['{"config":{"stepz":1}}', 'unknown setting'],
    ['{"files":{}}', 'job.config: expected an object'],
    ['{"config":{},"files":{"data":"x"}}', 'job.files: unknown file "data"'],
    ['{"config":{},"files":{"text":1}}', 'job.files.text: expected an address'],
    ['[]', 'job: expected an object'],
  ])('%s is refused', (text, reason) => {
    expect(() => parseJob(text)).toThrow(reason);
  });
  it('fetches what is needed and not given, from its own site alone', async () => {
    const asked: string[] = [];
    vi.stubGlobal('fetch', (url: URL) => {
      asked.push(url.href);
      return Promise.resolve(new Response('call me', { headers: { 'content-type': 'text/plain' } }));
    });
    const whale = makeJob(parseRunConfig([]));
    const progress: unknown[] = [];
    expect(await fetchContents(whale, 'http://x.example/a/', {}, (...news) => progress.push(news))).toEqual({
      text: new TextEncoder().encode('call me'),
    });
    expect(asked).toEqual(['http://x.example/a/data/moby-dick.txt']);
    const name = 'moby-dick.txt';
    expect(progress).toEqual([
      [name, 0, undefined],
      [name, 7, undefined],
      [name, 7, 7],
    ]);
    expect(await fetchContents(whale, 'http://x.example/', { text: 'mine' }, () => {})).toEqual({ text: 'mine' });
    expect(asked).toHaveLength(1);
    await expect(
      fetchContents(makeJob(config, { weights: 'http://other.example/w' }), 'http://x.example/', {}, () => {}),
    ).rejects.toThrow("is not on this page's site");
    await expect(
      fetchContents(makeJob(parseRunConfig([['data', 'notes.txt']])), 'http://x.example/', {}, () => {}),
    ).rejects.toThrow('drop that text file on this page first');
    vi.stubGlobal('fetch', () => Promise.resolve(new Response('<p>', { headers: { 'content-type': 'text/html' } })));
    await expect(fetchContents(whale, 'http://x.example/', {}, () => {})).rejects.toThrow('is not on this server');
  });
  it('has a preset for every way to split, and each fits its model', () => {
    for (const preset of PRESETS) {
      const run = presetConfig(preset);
      checkLayout(modelOf(run.model, 96), run.layout, {
        batch: run.batch,
        microbatches: run.microbatches,
        context: presetContext(run.model),
        chunks: run.chunks,
      });
      expect(preset.about).toContain(worldSize(run.layout) === 1 ? 'plain' : `${worldSize(run.layout)} devices`);
    }
    expect(
      new Set(
        PRESETS.flatMap((preset) =>
          Object.entries(presetConfig(preset).layout)
            .filter(([, size]) => size > 1)
            .map(([axis]) => axis),
        ),
      ),
    ).toEqual(new Set(['dp', 'pp', 'tp', 'sp', 'ep']));
  });
});

describe('a series', () => {
  it('keeps every point while there is room, then means of neighbours, in order and with the same mean', () => {
    const series = new Series();
    for (let i = 1; i <= 4000; i++) series.push(i, 2 * i);
    expect([series.length, series.x[3999], series.last]).toEqual([4000, 4000, 8000]);
    for (let i = 4001; i <= 65_536; i++) series.push(i, 2 * i);
    expect(series.length).toBeLessThan(4096);
    expect(series.x.every((x, i) => i === 0 || x > series.x[i - 1]!)).toBe(true);
    expect(series.y.every((y, i) => Math.abs(y - 2 * series.x[i]!) < 1e-6)).toBe(true);
  });
});

describe('the view of a run', () => {
  const metrics = (step: number, loss: number): StepMetrics => ({
    step,
    loss,
    gradNorm: 1,
    lr: 1,
    tokens: 100,
    ms: 50,
    bytesSent: {},
    spans: [],
    requests: { stop: false, save: false, sample: false },
  });
  it('draws the curves from the first rank of the page alone', () => {
    const run = new RunView(parseRunConfig([['layout', 'pp=2,dp=2']]));
    run.opened(2, {
      kind: 'cpu',
      adapter: { vendor: 'v', architecture: 'a', description: 'a processor', software: true },
    });
    run.opened(3, {
      kind: 'cpu',
      adapter: { vendor: 'v', architecture: 'a', description: 'a processor', software: true },
    });
    for (const rank of [2, 3]) run.apply(rank, { kind: 'step', metrics: metrics(0, 4), memoryBytes: 10 }, 0);
    expect([run.step, run.loss.y, run.tokensPerSecond.y, run.watched]).toEqual([1, [4], [2000], 2]);
    expect(run.memory).toEqual({ bytes: 20, ranks: 2, counted: false });
    run.ranks[0]!.expectedBytes = 7;
    expect(run.memory).toEqual({ bytes: 27, ranks: 3, counted: true });
    expect(run.ranks.map(({ place }) => place)).toEqual(['PP(0)-DP(0)', 'PP(0)-DP(1)', 'PP(1)-DP(0)', 'PP(1)-DP(1)']);
    expect(placeName(0, makeLayout({}))).toBe('alone');
  });
  const link: LinkReport = {
    peer: 1,
    kind: 'webrtc worker',
    route: 'direct',
    path: 'prflx',
    roundTripMs: 1,
    sent: 0,
    received: 0,
    frameBytes: 65536,
    windowBytes: 262144,
    sending: { probed: 21.04, observed: NaN },
    receiving: { probed: NaN, observed: NaN },
  };
  it('says how the bytes of a link travel, and how fast it is', () => {
    expect(linkWay(link)).toBe('direct (prflx, webrtc worker)');
    expect(linkWay({ ...link, route: 'same browser', path: 'same browser', kind: 'same browser' })).toBe(
      'same browser',
    );
    expect(linkWay({ ...link, route: 'unknown', path: 'loopback', kind: 'loopback' })).toBe('loopback');
    expect(linkFigures(link)).toBe(
      'sending: 21.0 MB/s probed; receiving: not known yet; frames of 64 KiB, window 256 KiB',
    );
  });
  it('merges what its ranks did last before they failed', () => {
    const run = new RunView(parseRunConfig([['layout', 'dp=2']]));
    expect(run.lastOperations).toBe('');
    for (const rank of [0, 1]) {
      const recorder = createFlightRecorder(rank, { now: () => 50 });
      recorder.group(2, 'dp', [0, 1]);
      if (rank === 0) recorder.posted(recorder.begin(2, 'all-reduce', 0, false), 1, false, 8);
      run.apply(
        rank,
        {
          kind: 'failed',
          name: 'PeerError',
          message: 'rank 1 slow: nothing',
          culprit: 1,
          evidence: 'slow',
          flight: recorder.dump('rank 1 slow: nothing'),
        },
        60,
      );
    }
    expect(run.lastOperations).toContain(
      'first to diverge: rank 1 (missing) in dp 0: it did not call all-reduce, which 1 of 2 called',
    );
  });

  it('measures the rate of a link over at least half a second', () => {
    const run = new RunView(parseRunConfig([['layout', 'dp=2']]));
    const links = (bytes: number) => ({ kind: 'links' as const, links: [{ ...link, sent: bytes, received: bytes }] });
    run.apply(0, links(0), 0);
    run.apply(0, links(1e9), 100);
    expect(run.ranks[0]!.links[0]!.bytesPerSecond).toBe(0);
    run.apply(0, links(1e6), 1000);
    expect(run.ranks[0]!.links[0]!.bytesPerSecond).toBe(2e6);
  });
  it("keeps what a rank's device proved about itself", () => {
    const run = new RunView(parseRunConfig([]));
    const certificate = {
      adapter: 'a',
      launches: 1,
      checks: [],
      unchecked: [],
      refused: [],
      decisions: [],
      checkMs: 1,
      tuneMs: 2,
      notes: [],
    };
    expect(run.ranks[0]!.certificate).toBe(undefined);
    run.apply(0, { kind: 'certificate', certificate }, 0);
    expect(run.ranks[0]!.certificate).toBe(certificate);
  });
  it('writes sizes for people', () => {
    expect([0, 999, 1234, 12_345, 1_234_567, 2.5e9].map(formatBytes)).toEqual([
      '0 B',
      '999 B',
      '1.2 kB',
      '12 kB',
      '1.2 MB',
      '2.5 GB',
    ]);
  });
});

describe('reports', () => {
  const bytes = new Uint8Array([1, 2, 3]);
  it('upload bytes before they tell of them, in order, and carry no channels', async () => {
    const log: string[] = [];
    vi.stubGlobal('fetch', async (url: string, { body }: { body: Uint8Array }) => {
      // Later than whatever would not wait for it.
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      log.push(`POST ${url} ${body.byteLength}`);
      return new Response(null, { status: 204 });
    });
    let last = (): void => {};
    const told = new Promise<void>((resolve) => {
      last = resolve;
    });
    const reporter = createReporter(
      (text) => {
        log.push(text);
        if (text.includes('over')) last();
      },
      () => 'http://u.example/x/',
    );
    reporter.page('loaded');
    reporter.rank(0, { kind: 'checkpoint', step: 7, bytes, last: true });
    reporter.rank(0, { kind: 'gradients', bytes });
    reporter.session({ type: 'failed', fatal: true, error: new RoomError('broker', 'no') } as SessionEvent);
    reporter.session({
      type: 'started',
      place: { rank: 0 },
      lanes: new Map([[1, 'channel']]),
      wires: new Map(),
    } as unknown as SessionEvent);
    reporter.page('error', 'over');
    await told;
    expect(log).toEqual([
      '{"type":"page","state":"loaded"}',
      'POST http://u.example/x/checkpoint-7.safetensors 3',
      '{"type":"rank","rank":0,"event":{"kind":"checkpoint","step":7,"bytes":{"byteLength":3},"last":true}}',
      'POST http://u.example/x/gradients-0.safetensors 3',
      '{"type":"rank","rank":0,"event":{"kind":"gradients","bytes":{"byteLength":3}}}',
      '{"type":"session","event":{"type":"failed","fatal":true,"error":{"name":"RoomError","message":"room: no","trouble":"broker"}}}',
      '{"type":"session","event":{"type":"started","place":{"rank":0}}}',
      '{"type":"page","state":"error","text":"over"}',
    ]);
  });
  it('say when an upload was refused', async () => {
    vi.stubGlobal('fetch', () => Promise.resolve(new Response(null, { status: 507 })));
    const text = await new Promise<string>((resolve) => {
      createReporter(resolve, () => 'http://u.example').rank(0, { kind: 'model', step: 1, bytes });
    });
    expect(text).toContain('did not take 3 bytes (status 507)');
  });
});

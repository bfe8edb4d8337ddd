// The tuner of the bench page: collects the launches of workloads or of a preset's training step without running them,
// then decides shape class by shape class, most work first. Every class gets its part of the time, so that each ends
// with a decision that can be shown, and a stop keeps those before it. What is found is remembered where training looks
// for it.

import { ConfigError } from '../../base/errors.ts';
import { stepConfig, tabmeshStepRunner } from '../../bench/gpt2/step.ts';
import { WORKLOADS } from '../../bench/run.ts';
import type { Device, PlannedLaunch } from '../../device/device.ts';
import type { Certificate, Decision } from '../../device/tune/certificate.ts';
import { shapeClass } from '../../device/tune/shape-class.ts';
import { deviceOf } from '../../device/webgpu.ts';
import type { GpuContext } from '../../device/webgpu.ts';
import { supportedVariants } from '../../device/variant.ts';
import { prepareLanguage } from '../../train/tasks/language/prepare.ts';
import { browserQualifier } from '../../../workers/qualification.ts';
import { inScope } from './catalogue.ts';
import type { TuneRequest } from './protocol.ts';

/** Below this share of all work a shape is not worth a measurement. */
const LEAST_SHARE = 0.005;
/** Of an even share of the time, for a class that comes when others have used theirs up. */
const LEAST_PART = 1 / 4;
/** Bytes weigh as much as this many operations. */
const FLOPS_PER_BYTE = 10;

export interface TuneShapes {
  readonly context: GpuContext;
  readonly request: TuneRequest;
  /** May throw to stop. */
  readonly checkpoint: () => void;
  readonly onStatus: (text: string, done: number, total: number) => void;
  readonly onDecision: (decision: Decision) => void;
  readonly onNote: (text: string) => void;
}

interface ShapeClass extends PlannedLaunch {
  readonly key: string;
  readonly work: number;
}

export async function tuneShapes({
  context,
  request,
  checkpoint,
  onStatus,
  onDecision,
  onNote,
}: TuneShapes): Promise<void> {
  onStatus('collecting the shapes', 0, 0);
  const launches = await collectLaunches(deviceOf(context), request, checkpoint);
  const classes = classesOf(launches).filter(
    ({ kernel, params }) => supportedVariants(kernel, params, context.features).length > 0,
  );
  const whole = classes.reduce((sum, { work }) => sum + work, 0);
  const chosen = classes.filter(({ work }) => work >= LEAST_SHARE * whole);
  if (!chosen.length)
    throw new ConfigError('tuner', 'there is no shape to tune; choose a workload with kernels, such as matmul');
  let leftMs = 1000 * request.budget;
  const least = (LEAST_PART * leftMs) / chosen.length;
  for (const [i, { kernel, params, count }] of chosen.entries()) {
    checkpoint();
    onStatus(kernel.name, i, chosen.length);
    // What is left is shared evenly: classes that are remembered or have one variant give theirs to the others.
    const device = deviceOf(context, {
      qualifier: await browserQualifier(Math.max(least, leftMs / (chosen.length - i)) / 1000, false),
    });
    try {
      const { decisions, notes, refused, tuneMs } = await device.qualify!([{ kernel, params, count }]);
      for (const decision of decisions) onDecision(decision);
      if (!decisions.length)
        for (const { variant, reason } of refused) onNote(`${kernel.name}/${variant} was refused: ${reason}`);
      for (const note of notes) onNote(note);
      leftMs -= tuneMs;
    } finally {
      device.destroy();
    }
  }
}

/** The launches that a device would make, found without compiling or allocating anything. */
async function collectLaunches(
  real: Device,
  { shapesOf, textUrl }: TuneRequest,
  checkpoint: () => void,
): Promise<readonly PlannedLaunch[]> {
  const found: PlannedLaunch[] = [];
  const device = recordingDevice(real, (launches) => found.push(...launches));
  if ('preset' in shapesOf) {
    const config = stepConfig([['model', shapesOf.preset]]);
    const response = await fetch(textUrl);
    if (!response.ok || response.headers.get('content-type')?.startsWith('text/html'))
      throw new ConfigError(
        'tuner',
        `${new URL(textUrl).pathname} is not on this server (status ${response.status}), and a preset's vocabulary comes from it; tune the shapes of the workloads instead`,
      );
    (await tabmeshStepRunner(device, config, prepareLanguage(config, { text: await response.text() }))).dispose();
    return found;
  }
  for (const workload of WORKLOADS.filter(({ name }) => shapesOf.workloads.includes(name))) {
    for (const { dims } of workload.shapes.filter(({ scope }) => inScope(scope, shapesOf.scope))) {
      checkpoint();
      // Stop must be heard between two shapes: their inputs take a moment to make.
      await new Promise((resolve) => setTimeout(resolve));
      (await workload.prepare(device, workload.problem(dims))).dispose();
    }
  }
  return found;
}

function recordingDevice(real: Device, take: (launches: readonly PlannedLaunch[]) => void): Device {
  const nothing: Certificate = {
    adapter: '',
    launches: 0,
    checks: [],
    unchecked: [],
    refused: [],
    decisions: [],
    checkMs: 0,
    tuneMs: 0,
    notes: [],
  };
  return {
    ...real,
    alloc: (bytes, tag, label) => ({ bytes, tag, label }),
    free() {
      /* nothing was made */
    },
    write() {
      /* goes nowhere */
    },
    async prepare(kernel, params) {
      return { kernel: kernel.name, variant: '', flops: kernel.cost(params).flops };
    },
    async qualify(launches) {
      take(launches);
      return nothing;
    },
    submit: async (_, readback = []) => readback.map(({ bytes }) => new ArrayBuffer(bytes)),
    idle: async () => {
      /* nothing runs */
    },
  };
}

/** One launch for each kernel and shape class, the one with the most work; most work first. */
function classesOf(launches: readonly PlannedLaunch[]): readonly ShapeClass[] {
  const classes = new Map<string, ShapeClass & { readonly largest: number }>();
  for (const launch of launches) {
    const { kernel, params, count } = launch;
    const key = `${kernel.name} ${shapeClass(kernel, params)}`;
    const { flops, bytes } = kernel.cost(params);
    const work = count * (flops + FLOPS_PER_BYTE * bytes);
    const known = classes.get(key);
    classes.set(key, {
      ...(known && known.largest >= work ? known : { ...launch, key, largest: work }),
      work: (known?.work ?? 0) + work,
    });
  }
  return [...classes.values()].sort((a, b) => b.work - a.work);
}

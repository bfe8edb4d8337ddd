// All parameters of a stage in one flat buffer, gradients at the same places of another: AdamW is one launch where no
// other rank owns a part, a shard is a range, a checkpoint is one download. Order: by segment, and the decayed
// parameters of all segments together; every parameter starts at a multiple of 64 elements (256 bytes, WebGPU's binding
// alignment). Padding stays zero.

import { InternalError } from '../base/errors.ts';
import { elements } from '../base/shape.ts';
import type { Device, DeviceBuffer } from '../device/device.ts';
import type { Recorder } from '../device/recorder.ts';
import type { Param } from '../device/tensor.ts';
import { fill } from '../../shaders/elementwise/fill.ts';
import { readParts } from './param-spec.ts';
import type { ParamSpec, Segment, WeightSource } from './param-spec.ts';

export const ALIGNMENT = 64;
/**
 * The first one has its decayed parameters last, the others first; experts have no others, and the tied copy is not
 * updated.
 */
const SEGMENTS: readonly Segment[] = ['tensor', 'expert', 'replicated', 'tied'];

/** Elements [start, end) of the flat buffer; [decayStart, decayEnd) decay. */
export interface SegmentRange {
  readonly segment: Segment;
  readonly start: number;
  readonly decayStart: number;
  readonly decayEnd: number;
  readonly end: number;
}

export interface FlatLayout {
  readonly size: number;
  readonly segments: readonly SegmentRange[];
  readonly places: ReadonlyMap<string, { readonly spec: ParamSpec; readonly start: number }>;
}

export function layOut(specs: readonly ParamSpec[]): FlatLayout {
  const places = new Map<string, { spec: ParamSpec; start: number }>();
  const segments: SegmentRange[] = [];
  let at = 0;
  const place = (spec: ParamSpec): void => {
    places.set(spec.name, { spec, start: at });
    at += Math.ceil(elements(spec.shape) / ALIGNMENT) * ALIGNMENT;
  };
  for (const segment of SEGMENTS) {
    const own = specs.filter((spec) => spec.segment === segment);
    if (!own.length) continue;
    const [decayed, plain] = [own.filter((spec) => spec.decays), own.filter((spec) => !spec.decays)];
    const start = at;
    if (segment === SEGMENTS[0]) plain.splice(0).forEach(place);
    const decayStart = at;
    decayed.forEach(place);
    const decayEnd = at;
    plain.forEach(place);
    segments.push({ segment, start, decayStart, decayEnd, end: at });
  }
  return { size: at, segments, places };
}

export interface FlatParams {
  readonly layout: FlatLayout;
  readonly values: DeviceBuffer;
  readonly grads: DeviceBuffer;
  get(name: string): Param;
}

/** Allocates both buffers (zero) on `device`. */
export function createFlatParams(device: Device, layout: FlatLayout): FlatParams {
  const bytes = Math.max(ALIGNMENT, layout.size) * 4;
  const values = device.alloc(bytes, 'param', 'params');
  const grads = device.alloc(bytes, 'grad', 'grads');
  const params = new Map<string, Param>();
  for (const [name, { spec, start }] of layout.places) {
    const base = { shape: spec.shape, dtype: 'f32' as const, offset: start * 4, label: name };
    params.set(name, {
      ...base,
      name,
      storage: { kind: 'fixed', buffer: values },
      grad: { ...base, label: `d.${name}`, storage: { kind: 'fixed', buffer: grads } },
    });
  }
  return {
    layout,
    values,
    grads,
    get(name) {
      const param = params.get(name);
      if (!param) throw new InternalError(`no parameter ${name}`);
      return param;
    },
  };
}

/** Fills the parameters from whole weights. */
export function loadParams(device: Device, { layout, values }: FlatParams, weights: WeightSource): void {
  const flat = new Float32Array(layout.size);
  for (const { spec, start } of layout.places.values())
    readParts(spec, weights, flat.subarray(start, start + elements(spec.shape)));
  if (flat.length) device.write(values, 0, flat);
}

/** Sets all gradients to 0. */
export function recordZero(r: Recorder, { grads }: FlatParams): void {
  const N = grads.bytes / 4;
  const out = {
    shape: [N],
    dtype: 'f32' as const,
    label: 'grads',
    offset: 0,
    storage: { kind: 'fixed' as const, buffer: grads },
  };
  r.launch(fill, { out }, { N, VALUE: 0 });
}

// A layout as a picture: a box per device that says what it holds, a line per neighbour, and what travels along each
// kind of line. Pure; the element draws it.

import { worldSize } from '../../../base/axis.ts';
import type { AxisName } from '../../../base/axis.ts';
import { coordinatesOf } from '../../../collectives/mesh.ts';
import { stageRange } from '../../../model/param-spec.ts';
import { familyOf } from '../../../model/registry.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import { contextOf, layersOf, networkFor } from './fit.ts';
import type { FormFacts } from './fit.ts';

export interface Box {
  readonly rank: number;
  readonly column: number;
  readonly row: number;
  /** Two short lines at most. */ readonly holds: readonly string[];
}
export interface Line {
  readonly axis: AxisName;
  readonly from: number;
  readonly to: number;
}
export interface Travel {
  readonly axis: AxisName;
  readonly text: string;
}
export interface Picture {
  readonly columns: number;
  readonly rows: number;
  readonly boxes: readonly Box[];
  readonly lines: readonly Line[];
  readonly travels: readonly Travel[];
}

/** More boxes would be too small to read. */
const MOST_BOXES = 16;

const TRAVELS: Readonly<Record<AxisName, string>> = {
  pp: 'activations go on to the next layers, their gradients come back, per microbatch',
  dp: 'gradients are added up once a step, each device updates its share, and the new weights go round',
  sp: 'keys and values go round, so that every token sees those before it',
  ep: 'each token goes to the devices of its experts and back',
  tp: 'partial sums are added up twice a layer, forward and backward',
};

const SHARED = 'all devices share the vocabulary, and join what they make of their tokens of it';

/** Undefined for more devices than can be drawn, and for a model that this page does not know. */
export function pictureOf(config: RunConfig, facts: FormFacts): Picture | undefined {
  const { layout, batch, chunks } = config;
  const whole = layersOf(config, facts);
  const model = networkFor(config, facts);
  const size = worldSize(layout);
  if (whole === undefined || size > MOST_BOXES) return undefined;
  const context = contextOf(config, facts);
  const boxes = Array.from({ length: size }, (_, rank): Box => {
    const at = coordinatesOf(rank, layout);
    const { firstLayer, endLayer } = stageRange(at.pp, layout.pp, whole);
    const layers =
      layout.pp === 1 ? 'all layers' : chunks > 1 ? `${chunks} chunks of layers` : part('layer', firstLayer, endLayer);
    const replicas = layout.dp * layout.ep;
    const share = (whole: number, parts: number, i: number): readonly [number, number] => [
      Math.floor((i * whole) / parts),
      Math.floor(((i + 1) * whole) / parts),
    ];
    return {
      rank,
      column: at.pp * layout.tp + at.tp,
      row: (at.dp * layout.ep + at.ep) * layout.sp + at.sp,
      holds: [
        [
          layers,
          ...(model ? familyOf(model).splits : []).flatMap(({ axis, one, extent }) =>
            layout[axis] > 1 && one !== undefined ? [part(one, ...share(extent(model!), layout[axis], at[axis]))] : [],
          ),
        ].join(', '),
        [
          ...(replicas > 1 ? [part('row', ...share(batch, replicas, at.dp * layout.ep + at.ep))] : []),
          ...(layout.sp > 1 ? [part('token', ...share(context, layout.sp, at.sp))] : []),
        ].join(', ') || 'all rows',
      ],
    };
  });
  const axes = (['pp', 'dp', 'sp', 'ep', 'tp'] as const).filter((axis) => layout[axis] > 1);
  const lines = axes.flatMap((axis) =>
    boxes.flatMap(({ rank }): readonly Line[] => {
      const at = coordinatesOf(rank, layout);
      const next = boxes.find((box) => {
        const other = coordinatesOf(box.rank, layout);
        return (
          other[axis] === at[axis] + 1 &&
          (['pp', 'dp', 'sp', 'ep', 'tp'] as const).every((name) => name === axis || other[name] === at[name])
        );
      });
      return next ? [{ axis, from: rank, to: next.rank }] : [];
    }),
  );
  return {
    columns: layout.pp * layout.tp,
    rows: layout.dp * layout.ep * layout.sp,
    boxes,
    lines,
    travels: axes.map((axis) => ({
      axis,
      text: axis === 'pp' && config.vocab !== 'none' ? `${TRAVELS.pp}; ${SHARED}` : TRAVELS[axis],
    })),
  };
}

/** 'layer 1', 'layers 3 to 4'. */
function part(what: string, from: number, end: number): string {
  return end - from === 1 ? `${what} ${end}` : `${what}s ${from + 1} to ${end}`;
}

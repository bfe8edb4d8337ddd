// What a network knows about the rows of its tokens, as tensors: either fixed, where the layout says all, or inputs of
// each microbatch, where its documents do.

import type { DType, Shape, TypedArray } from '../../base/shape.ts';
import type { Tensor } from '../../device/tensor.ts';
import type { KeyMask } from '../../ops/attention.ts';
import { rotaryTables } from '../../ops/rope.ts';
import type { ModelConfig } from '../config.ts';
import { familyOf } from '../registry.ts';
import { areRuns, intervalsOf, positionsOf, seenRanks } from './token-rows.ts';
import type { TokenRows } from './token-rows.ts';

export interface RowTensors {
  /** Column of the first local token, where the tokens are a run; else `positions` says where each stands. */
  readonly posStart: number;
  /** U32 [R]; where positions are learned. */
  readonly positions?: Tensor;
  /** Rotary tables [tokens or R, headDim/2]: row r turns by row r mod tokens. Absent without RoPE. */
  readonly rotary?: { readonly cos: Tensor; readonly sin: Tensor };
  /** Absent where the tokens are a run: then offsets say what a query sees. */
  readonly mask?: KeyMask;
}

type Make = (label: string, shape: Shape, data: TypedArray) => Tensor;

/** Of a stage: the columns that each rank of the sequence group holds, this one's rank, rows, and whether it embeds. */
export interface RowPlace {
  readonly columns: readonly Int32Array[];
  readonly rank: number;
  readonly B: number;
  readonly first: boolean;
}

/** Of rows that are one document each; `make` gives a tensor that holds `data`. */
export function fixedRows(config: ModelConfig, place: RowPlace, make: Make): RowTensors {
  const { columns, rank, B } = place;
  const own = columns[rank];
  const T = own.length;
  const rotary = rotaryOf(
    config,
    own.map((column) => Math.max(0, column)),
    make,
  );
  if (areRuns(columns)) return { posStart: own[0], ...rotary };
  return { posStart: 0, ...rotary, ...placesOf(config, place, new Int32Array(B * T), make) };
}

/** As inputs of each microbatch, in whose order `values` gives their contents. */
export function packedRows(
  config: ModelConfig,
  place: RowPlace,
  tensor: (shape: Shape, dtype: DType, label: string) => Tensor,
): { readonly rows: RowTensors; readonly inputs: readonly Tensor[]; values(rows: TokenRows): readonly TypedArray[] } {
  const inputs: Tensor[] = [];
  const make: Make = (label, shape, data) => {
    const made = tensor(shape, data instanceof Float32Array ? 'f32' : 'u32', label);
    inputs.push(made);
    return made;
  };
  const { columns, rank, B } = place;
  const build = (starts: Int32Array, to: Make): RowTensors => ({
    posStart: 0,
    ...placesOf(config, place, starts, to),
    ...rotaryOf(config, positionsOf({ columns, starts }, rank), to),
  });
  const rows = build(new Int32Array(B * columns[rank].length), make);
  return {
    rows,
    inputs,
    values(given) {
      const values: TypedArray[] = [];
      build(given.starts, (_label, _shape, data) => {
        values.push(data);
        return inputs[values.length - 1];
      });
      return values;
    },
  };
}

function placesOf(
  config: ModelConfig,
  { columns, rank, first }: RowPlace,
  starts: Int32Array,
  make: Make,
): Pick<RowTensors, 'positions' | 'mask'> {
  const intervals = intervalsOf({ columns, starts }, rank).map((data, i) => make(`intervals${i}`, [data.length], data));
  const mask: KeyMask = { intervals, seen: seenRanks(columns, rank) };
  if (familyOf(config).positions(config).kind !== 'learned' || !first) return { mask };
  return { mask, positions: make('positions', [starts.length], positionsOf({ columns, starts }, rank)) };
}

function rotaryOf(config: ModelConfig, positions: ArrayLike<number>, make: Make): Pick<RowTensors, 'rotary'> {
  const { headDim } = config;
  const places = familyOf(config).positions(config);
  if (places.kind !== 'rotary') return {};
  const { cos, sin } = rotaryTables(positions, headDim, places.theta);
  const shape = [positions.length, headDim / 2];
  return { rotary: { cos: make('cos', shape, cos), sin: make('sin', shape, sin) } };
}

// Tensors are descriptions; their bytes live in a Storage that a Program places in device buffers when it is finished.

import type { DType, Shape } from '../base/shape.ts';
import { elements } from '../base/shape.ts';
import type { DeviceBuffer } from './device.ts';

/**
 * Where a tensor's bytes are. `fixed`: a buffer that exists already (parameters, gradients, inputs). `auto`: placed by
 * the program, in one buffer per slot if several plans use it, otherwise in a pooled buffer for as long as it lives
 * inside its plan.
 */
export type Storage =
  | { readonly kind: 'fixed'; readonly buffer: DeviceBuffer }
  | { readonly kind: 'auto'; readonly id: number; readonly bytes: number; readonly label: string };

export interface Tensor {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly storage: Storage;
  /** Bytes from the start of the storage; a multiple of 256. */
  readonly offset: number;
  readonly label: string;
}

/**
 * A trainable tensor: a range of the stage's flat parameter buffer with its gradient at the same place of the flat
 * gradient buffer.
 */
export interface Param extends Tensor {
  readonly name: string;
  readonly grad: Tensor;
}

export function byteLength(tensor: Tensor): number {
  return elements(tensor.shape) * 4;
}

/** The same bytes under another shape with as many elements. */
export function reshape<T extends Tensor>(tensor: T, shape: Shape): Tensor {
  return { shape, dtype: tensor.dtype, storage: tensor.storage, offset: tensor.offset, label: tensor.label };
}

/** Rows `start` to `end` of dimension 0, without a copy; the first row must start at a multiple of 256 bytes. */
export function rows(tensor: Tensor, start: number, end: number): Tensor {
  const rowBytes = byteLength(tensor) / tensor.shape[0];
  return { ...reshape(tensor, [end - start, ...tensor.shape.slice(1)]), offset: tensor.offset + start * rowBytes };
}

/**
 * Both tensors as one, with what alignment leaves between them, if `b` lies right behind `a` in the same buffer;
 * otherwise undefined.
 */
export function span(a: Tensor, b: Tensor): Tensor | undefined {
  const between = b.offset - a.offset - byteLength(a);
  const place = ({ storage }: Tensor): unknown => (storage.kind === 'fixed' ? storage.buffer : storage);
  if (place(a) !== place(b) || between < 0 || between >= 256) return undefined;
  return { ...reshape(a, [(b.offset - a.offset + byteLength(b)) / 4]), label: `${a.label}..${b.label}` };
}

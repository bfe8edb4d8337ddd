// Bytes of a small ONNX model (protobuf), enough for a graph of a few nodes with f32 inputs and outputs of known
// shapes. Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.

const FLOAT = 1;
const IR_VERSION = 10;
const OPSET = 21;
export const MICROSOFT = 'com.microsoft';

export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly domain?: string;
  /** Whole numbers become `i`, others `f`. */
  readonly attributes?: Readonly<Record<string, number>>;
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly outputs: Readonly<Record<string, readonly number[]>>;
  /** Constants, f32 scalars. */
  readonly scalars?: Readonly<Record<string, number>>;
}

type Bytes = readonly number[];

function varint(value: number): Bytes {
  const out: number[] = [];
  let rest = value;
  do {
    out.push((rest % 128) | (rest >= 128 ? 128 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return out;
}

const whole = (field: number, value: number): Bytes => [...varint(field << 3), ...varint(value)];
const bytes = (field: number, content: Bytes): Bytes => [
  ...varint((field << 3) | 2),
  ...varint(content.length),
  ...content,
];
const text = (field: number, content: string): Bytes => bytes(field, [...new TextEncoder().encode(content)]);
const float = (value: number): Bytes => [...new Uint8Array(Float32Array.of(value).buffer)];

function attribute([name, value]: readonly [string, number]): Bytes {
  return Number.isInteger(value)
    ? [...text(1, name), ...whole(3, value), ...whole(20, 2)]
    : [...text(1, name), ...varint((2 << 3) | 5), ...float(value), ...whole(20, 1)];
}

function node({ op, inputs, outputs, domain, attributes = {} }: OnnxNode): Bytes {
  return [
    ...inputs.flatMap((name) => text(1, name)),
    ...outputs.flatMap((name) => text(2, name)),
    ...text(4, op),
    ...Object.entries(attributes).flatMap((entry) => bytes(5, attribute(entry))),
    ...(domain === undefined ? [] : text(7, domain)),
  ];
}

function value([name, shape]: readonly [string, readonly number[]]): Bytes {
  const dims = shape.flatMap((size) => bytes(1, whole(1, size)));
  return [...text(1, name), ...bytes(2, bytes(1, [...whole(1, FLOAT), ...bytes(2, dims)]))];
}

function scalar([name, content]: readonly [string, number]): Bytes {
  return [...whole(2, FLOAT), ...text(8, name), ...bytes(9, float(content))];
}

/** A ModelProto with the default and Microsoft's operator sets. */
export function onnxModel({ nodes, inputs, outputs, scalars = {} }: OnnxGraph): Uint8Array<ArrayBuffer> {
  const graph = [
    ...nodes.flatMap((one) => bytes(1, node(one))),
    ...text(2, 'bench'),
    ...Object.entries(scalars).flatMap((entry) => bytes(5, scalar(entry))),
    ...Object.entries(inputs).flatMap((entry) => bytes(11, value(entry))),
    ...Object.entries(outputs).flatMap((entry) => bytes(12, value(entry))),
  ];
  const opset = (domain: string, version: number): Bytes => bytes(8, [...text(1, domain), ...whole(2, version)]);
  return Uint8Array.from([...whole(1, IR_VERSION), ...opset('', OPSET), ...opset(MICROSOFT, 1), ...bytes(7, graph)]);
}

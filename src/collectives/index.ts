// @tabmesh/collectives: collectives between browser tabs, workers, iframes or ranks of one process, without the
// trainer. No dependencies.
//
//   const world = await connectTabs('my-experiment', 4);        // or connectPorts, connectChannels, connectLoopback
//   await allReduce(world, gradient, { wire: 'f16' });          // in place; same bytes on every rank
//
// Rules. All members of a group call the same collectives in the same order (issue order, not await order); several may
// run at once. Arrays belong to the operation until it ends. Every operation ends: with its result, or with a PeerError
// that names the culprit, and then everything of this communicator fails, on all ranks. What a member was called with
// travels in every frame: a mismatch fails at once with both sides' signatures. Each file's header states steps and
// bytes; the functions ...Bytes give the payload that a rank sends, exactly.

export {
  PeerError,
  TabmeshError,
  LayoutError,
  ShapeError,
  ConfigError,
  RoomError,
  FormatError,
  LimitError,
} from '../base/errors.ts';
export type { Evidence } from '../base/errors.ts';
export type { DType, TypedArray } from '../base/shape.ts';
export { realWorld, VirtualWorld } from '../base/world.ts';
export type { World } from '../base/world.ts';
export { openLanes } from '../transport/webrtc.ts';
export type { ChannelMaker, DataChannel, Port, StatsSource } from '../transport/pipes/pipes.ts';
export type { Reduction, WireFormat } from '../transport/arguments.ts';
export type { Lanes, Link, LinkStats, MessageKind, Wire } from '../transport/transport.ts';

export { connectChannels, connectLoopback, connectPorts } from './library/connect.ts';
export type { ChannelPair, LoopbackConnectOptions } from './library/connect.ts';
export { connectTabs } from './library/connect-tabs.ts';
export type { ConnectTabsOptions } from './library/connect-tabs.ts';
export { DEFAULT_DEADLINES, createCommunicator } from './library/communicator.ts';
export type { Communicator, ConnectOptions } from './library/communicator.ts';
export type { Deadlines } from './record/operation-watch.ts';
export { issue } from './library/handle.ts';
export type { Handle } from './library/handle.ts';
export type { CallOptions, Group, GroupRef, Ledger, Operation } from './group.ts';
export type { LedgerBook, LedgerRow } from './ledger.ts';

export { allGather, allGatherBytes, allGatherRoute } from './all-gather.ts';
export type { AllGatherOptions } from './all-gather.ts';
export { allReduce, allReduceBytes, allReduceRoute } from './all-reduce.ts';
export type { AllReduceOptions, AllReduceRoute } from './all-reduce.ts';
export { allToAll, allToAllBytes, allToAllVariable, allToAllVariableBytes } from './all-to-all.ts';
export { barrier } from './barrier.ts';
export { broadcast, broadcastBytes } from './broadcast.ts';
export type { BroadcastOptions } from './broadcast.ts';
export { gather, gatherBytes } from './gather.ts';
export { scatter, scatterBytes } from './point/scatter.ts';
export { recv, send, sendBytes } from './point/send-recv.ts';
export { ringSendBoth, ringSendBothBytes } from './point/ring-send-both.ts';
export type { RingPair } from './point/ring-send-both.ts';
export { ringSend, ringSendBytes } from './ring-send.ts';
export { reduceScatter, reduceScatterBytes, reductionRoute } from './reduce-scatter.ts';
export type { ReduceOptions, ReductionRoute } from './reduce-scatter.ts';
export { checkChunkPlacement, everywhere, ownersOnly } from './sparse/chunk-placement.ts';
export type { ChunkPlacement } from './sparse/chunk-placement.ts';
export { sparseAllGather, sparseAllGatherBytes } from './sparse/sparse-all-gather.ts';
export { sparseReduceScatter, sparseReduceScatterBytes } from './sparse/sparse-reduce-scatter.ts';
export { evenParts } from './parts.ts';
export { decode, encode, wireBytes } from './wire-format/wire-format.ts';

export { FLIGHT_RECORDS } from './record/flight-recorder.ts';
export type { FlightDump, FlightRecord } from './record/flight-recorder.ts';
export { formatTimeline, mergeTimeline } from './record/timeline.ts';
export type { Divergence, Timeline, TimelineEntry } from './record/timeline.ts';

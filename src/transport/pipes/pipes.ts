// What wires need of a browser's pipes, written out: the types of the collectives are used where the `dom` library is
// not, with channels and ports of a browser, of node:worker_threads, or of a package that brings WebRTC to Node.

/** The part of an RTCDataChannel that is used; ordered and reliable. */
export interface DataChannel {
  binaryType: string;
  bufferedAmountLowThreshold: number;
  readonly bufferedAmount: number;
  /** connecting, open, closing or closed. */
  readonly readyState: string;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(): void;
  /** Of open, message, bufferedamountlow, error and close. */
  addEventListener(type: string, listener: (event: any) => void): void;
  removeEventListener?(type: string, listener: (event: any) => void): void;
}

/** The part of a MessagePort that is used. */
export interface Port {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  start(): void;
  close(): void;
  /** Of message, messageerror and close. */
  addEventListener(type: string, listener: (event: any) => void): void;
}

/** The part of an RTCPeerConnection that opens channels. */
export interface ChannelMaker<C extends DataChannel> {
  createDataChannel(label: string, options: { negotiated: true; id: number; ordered: true }): C;
}

/** The part of an RTCPeerConnection that knows how its packets travel. */
export interface StatsSource {
  getStats(): Promise<{ forEach(each: (entry: any, id: string) => void): void }>;
  addEventListener?(type: 'iceconnectionstatechange', listener: () => void): void;
}

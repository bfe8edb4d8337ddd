// The options of `tabmesh bench collectives`, apart from its work, which needs a browser's modules.

export const COLLECTIVES_OPTIONS = {
  tabs: {
    type: 'count',
    default: 2,
    about: 'ranks, 2 to 8; each is a tab of one headless Chromium, joined by real WebRTC data channels',
  },
  transport: {
    type: 'string',
    default: 'webrtc',
    about:
      "what tabmesh's links use: webrtc, or, as within one browser, ports (a SharedWorker's) or broadcast (channels); others stay on WebRTC",
  },
  sizes: {
    type: 'string',
    default: 'default',
    about:
      "bytes of the arrays: a list like 0,4KiB,1MiB, 'all' (0 B to 64 MiB by doubling) or 'default' (0, 4 KiB, 64 KiB, 1, 4, 16 MiB)",
  },
  only: {
    type: 'string',
    about:
      'only these, with commas: send, ring-send, ring-send-both, broadcast, scatter, gather, all-gather, reduce-scatter, all-reduce, all-to-all, barrier, gpu-to-gpu (default: all)',
  },
  peers: { type: 'flag', about: 'also send the same arrays with simple-peer, PeerJS and Trystero, taking turns' },
  rounds: { type: 'count', about: 'rounds of every row (default: as many as fit into 4 s, 2 to 5)' },
  tune: {
    type: 'number',
    default: 0,
    about: 'seconds that the tuner of each link may look for its best frame and window before the first data',
  },
  json: { type: 'string', value: 'FILE', about: 'write the results here as JSON' },
} as const;

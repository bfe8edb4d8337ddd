// The worker of one rank: its communicator, its bare channels and its GPU, as a training rank has them. The page hands
// over the channels and passes on the requests.

import { expose } from 'comlink';
import { InternalError } from '../../base/errors.ts';
import { RankSeat } from './rank-seat.ts';
import type { SeatApi } from './rank-seat.ts';

const seat = new RankSeat();
const api: SeatApi = {
  adoptRaw: (peer, channel) => seat.adoptRaw(peer, channel),
  adoptLink: (peer, handles) => seat.adoptLink(peer, handles),
  start: (rank, run, tuneMs) => seat.start(rank, run, tuneMs),
  async perform(name, request) {
    try {
      return { value: await seat.perform(name, request) };
    } catch (error) {
      if (error instanceof InternalError || !(error instanceof Error)) console.error(error);
      return { error: error instanceof Error ? error.message : String(error) };
    }
  },
  leave: () => seat.leave(),
};
expose(api);

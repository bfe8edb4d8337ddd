// One rank's failure ends the work of all: when a link fails, every other link is aborted with the same error, so that
// each survivor hears the culprit's name, also those whose own link to the culprit looks well. A peer that left in good
// order is no failure until somebody needs it: then the operation that needed it relays. Aborting a link twice is
// harmless, so there are no loops. A link is of one view, so what fails late in a view ends no link of the next.
// Whoever keeps lanes for another view must take them from their links before one of these fails: an aborted link
// closes them.

import type { PeerError } from '../base/errors.ts';
import type { Link } from '../transport/transport.ts';

/** Watches `links` and returns the function that aborts them all. */
export function relayFailures(links: Iterable<Link>): (error: PeerError) => void {
  const all = [...links];
  const relay = (error: PeerError): void => {
    for (const link of all) link.abort(error);
  };
  for (const link of all)
    void link.failed.then((error) => {
      if (error.evidence !== 'left') relay(error);
    });
  return relay;
}

// The storage of this browser, as far as it is used.

/** What of Storage is used. A browser that keeps nothing for this site throws already when it is asked for. */
export type Kept = () => Pick<Storage, 'getItem' | 'setItem'>;

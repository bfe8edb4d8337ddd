// What is opened in several steps and fails at one of them.

/** Rejects as `open` does, with nothing left open. */
export async function openOrClose<T extends { open(): Promise<void>; close(): Promise<void> }>(it: T): Promise<T> {
  try {
    await it.open();
    return it;
  } catch (error) {
    // What failed first says more than what fails because of it.
    await it.close().catch(() => undefined);
    throw error;
  }
}
